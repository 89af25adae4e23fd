"""A core whose sessions, apps and tenants move to another database, as an operator does it."""

import subprocess
from pathlib import Path

import httpx

from tests.redis_servers import empty_redis
from tests.service.operating import INHERITED, PROGRAM, SECRET, run_service


def test_a_core_moves_its_sessions_and_tenants_and_nobody_is_signed_out(
    tmp_path: Path, postgres_database: str, redis_url: str
):
    old, new = postgres_database, redis_url
    empty_redis(new)

    with run_service(tmp_path, TALLYSTICK_URL=old) as service:
        created = [service.create(f"user-{number}") for number in range(4)]
        answer = httpx.put(
            f"{service.url}/recipe/multitenancy/tenant/v2", json={"tenantId": "t1"}, headers={"cdi-version": "5.4"}
        )
        assert answer.status_code == 200, answer.text

    with run_service(tmp_path, TALLYSTICK_URL=new, TALLYSTICK_MOVING_FROM=old) as service:
        assert service.verify(created[0]["accessToken"]["token"], check_database=True)["status"] == "OK"
        assert service.refresh(created[1]["refreshToken"]["token"])["status"] == "OK"
        handle = created[2]["session"]["handle"]
        removed = service.ask("/recipe/session/remove", {"sessionHandles": [handle]})
        assert removed["sessionHandlesRevoked"] == [handle]
        later = service.create("user-9")
        # As the operator would in another window, with what the environment says.
        moved = subprocess.run(
            [PROGRAM, "move"],
            env={**INHERITED, "TALLYSTICK_URL": new, "TALLYSTICK_MOVING_FROM": old, "TALLYSTICK_SECRET": SECRET},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert moved.returncode == 0, moved.stderr
        assert "none is left" in moved.stdout
        assert service.refresh(later["refreshToken"]["token"])["status"] == "OK"

    with run_service(tmp_path, TALLYSTICK_URL=new) as service:
        assert service.refresh(created[0]["refreshToken"]["token"])["status"] == "OK"
        assert service.refresh(created[3]["refreshToken"]["token"])["status"] == "OK"
        assert service.refresh(created[2]["refreshToken"]["token"])["status"] == "UNAUTHORISED"
        tenants = httpx.get(f"{service.url}/recipe/multitenancy/tenant/list/v2", headers={"cdi-version": "5.4"}).json()[
            "tenants"
        ]
        assert sorted(tenant["tenantId"] for tenant in tenants) == ["public", "t1"]
