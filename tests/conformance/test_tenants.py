"""Every store of ours keeps the apps and tenants of a core service too."""

from tallystick.testing.contract.rows import make_key
from tallystick.testing.contract.running import race, scenario
from tallystick.types import TenantRow


def make_tenant(app_id="app", tenant_id="public", sealed=b"\x00sealed\xff", created_at=1):
    return TenantRow(app_id, tenant_id, created_at, sealed)


class TestTenants:
    @scenario
    async def test_a_tenant_comes_back_as_it_was_kept_and_others_are_not_there(self, store):
        assert await store.insert_tenant(make_tenant()) is True
        assert await store.load_tenant("app", "public") == make_tenant()
        assert await store.load_tenant("app", "t1") is None
        assert await store.load_tenant("other", "public") is None

    @scenario
    async def test_a_tenant_that_is_there_stays_as_it_is(self, store):
        await store.insert_tenant(make_tenant())
        assert await store.insert_tenant(make_tenant(sealed=b"late")) is False
        assert await store.load_tenant("app", "public") == make_tenant()

    @scenario
    async def test_tenants_are_listed_in_the_order_of_app_and_tenant(self, store):
        rows = [make_tenant(app, tenant) for app in ("a", "b") for tenant in ("public", "t1", "t2")]
        for row in reversed(rows):
            await store.insert_tenant(row)
        assert await store.list_tenants(None) == rows
        assert await store.list_tenants("b") == rows[3:]
        assert await store.list_tenants("c") == []

    @scenario
    async def test_what_is_sealed_is_swapped_if_it_is_what_is_expected(self, store):
        await store.insert_tenant(make_tenant())
        changed = make_tenant(sealed=b"new", created_at=99)
        assert await store.swap_tenant(changed, b"something else") is False
        assert await store.swap_tenant(changed, make_tenant().sealed) is True
        assert await store.load_tenant("app", "public") == make_tenant(sealed=b"new")
        assert await store.swap_tenant(make_tenant("app", "t1"), b"new") is False

    @scenario
    async def test_of_many_who_swap_at_once_one_wins(self, store):
        await store.insert_tenant(make_tenant())
        swaps = (store.swap_tenant(make_tenant(sealed=b"%d" % i), make_tenant().sealed) for i in range(16))
        assert (await race(swaps)).count(True) == 1

    @scenario
    async def test_a_tenant_is_deleted_alone_and_an_app_with_all_its_tenants_and_keys(self, store):
        for row in [make_tenant(app, tenant) for app in ("a", "b") for tenant in ("public", "t1", "t2")]:
            await store.insert_tenant(row)
        await store.insert_key(make_key(app_id="a"))
        await store.insert_key(make_key(app_id="b"))
        assert await store.delete_tenants("a", "t1") is True
        assert await store.delete_tenants("a", "t1") is False
        assert [row.tenant_id for row in await store.list_tenants("a")] == ["public", "t2"]
        assert len(await store.load_keys("a")) == 1
        assert await store.delete_tenants("a", None) is True
        assert await store.delete_tenants("a", None) is False
        assert (await store.list_tenants("a"), await store.load_keys("a")) == ([], [])
        assert len(await store.list_tenants("b")) == 3
        assert len(await store.load_keys("b")) == 1
