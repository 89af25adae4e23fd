"""Real Redis servers for the tests: one, or a cluster of six, on loopback."""

import contextlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.servers import missing, pick_free_port

START_SECONDS = 60
STOP_SECONDS = 15
START_ATTEMPTS = 5
CLUSTER_NODES = 6
BUS_OFFSET = 10_000
"""A node of a cluster also listens at its port and so many."""


def find_redis_programs() -> tuple[str, str]:
    for server, client in (("redis-server", "redis-cli"), ("valkey-server", "valkey-cli")):
        if (found := shutil.which(server)) and (cli := shutil.which(client)):
            return found, cli
    return missing("a Redis server")


class RedisServer:
    """A running server."""

    def __init__(self, command: list[str], log: Path, port: int, password: str) -> None:
        self._command, self._log = command, log
        self.port, self.password = port, password
        self._spawn()

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.password)

    def kill(self) -> None:
        """As if the power had failed."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def pause(self) -> None:
        """As if the network had failed: connections stay, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """At the port and with the files that it had."""
        self._spawn()
        if not _answers_in_time(self):
            raise RuntimeError(f"Redis did not start again:\n{self._log.read_text()[-4000:]}")

    def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_SECONDS)


@contextmanager
def run_redis(*options: str) -> Iterator[RedisServer]:
    """Start a server of our own, stop it and leave nothing."""
    with _home() as home:
        server = start_redis(home, secrets.token_hex(16), *options)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def run_redis_with_replica() -> Iterator[tuple[RedisServer, RedisServer]]:
    """The same with a second server that copies it, and is in time with it. Either may become the other's replica."""
    with contextlib.ExitStack() as stack:
        password = secrets.token_hex(16)
        # Where no disk is in between, a replica gets nothing new from its master until it has said that it is there,
        # which is up to a second after it takes itself to be linked.
        options = ("--masterauth", password, "--repl-diskless-sync", "no")
        master = start_redis(stack.enter_context(_home()), password, *options)
        stack.callback(master.stop)
        following = ("--replicaof", f"127.0.0.1 {master.port}")
        replica = start_redis(stack.enter_context(_home()), password, *options, *following)
        stack.callback(replica.stop)
        stack.callback(replica.resume)
        wait_until_linked(replica)
        yield master, replica


@contextmanager
def run_sentinels(master: RedisServer, *, count: int = 1, down_after_ms: int = 60_000) -> Iterator[str]:
    """Sentinels that watch a server and its replicas, most of whom must agree that it is lost; the URL by which to find
    it. They take it for lost when it has not answered for so long."""
    with contextlib.ExitStack() as stack:
        watchers = []
        for _ in range(count):
            home = stack.enter_context(_home())
            settings = home / "sentinel.conf"
            lines = [
                f"sentinel monitor watched 127.0.0.1 {master.port} {count // 2 + 1}",
                f"sentinel auth-pass watched {master.password}",
                f"sentinel down-after-milliseconds watched {down_after_ms}",
            ]
            settings.write_text("\n".join(lines) + "\n")
            watchers.append(start_redis(home, "", program_options=(str(settings), "--sentinel")))
            stack.callback(watchers[-1].stop)
        for watcher in watchers:
            _wait_until_acquainted(watcher, count - 1)
        hosts = ",".join(f"127.0.0.1:{watcher.port}" for watcher in watchers)
        yield f"redis+sentinel://:{master.password}@{hosts}/watched"


def _wait_until_acquainted(sentinel: RedisServer, others: int) -> None:
    """Until a Sentinel has found the other ones; it finds replicas before them."""
    deadline = time.monotonic() + START_SECONDS
    with sentinel.client() as client:
        while client.sentinel_master("watched")["num-other-sentinels"] < others:
            if time.monotonic() > deadline:
                raise RuntimeError("the Sentinels did not find each other")
            time.sleep(0.05)


def wait_until_linked(replica: RedisServer) -> None:
    """Until a server is a replica, and has all that its master had."""
    deadline = time.monotonic() + START_SECONDS
    with replica.client() as client:
        while client.info("replication").get("master_link_status") != "up":
            if time.monotonic() > deadline:
                raise RuntimeError("the replica did not find its master")
            time.sleep(0.05)


@contextmanager
def run_redis_cluster() -> Iterator[str]:
    """Start six nodes, three of them replicas; yield the cluster's URL."""
    with run_redis_cluster_nodes() as nodes:
        yield cluster_url(nodes)


@contextmanager
def run_redis_cluster_nodes(*options: str) -> Iterator[list[RedisServer]]:
    """The same; the nodes, of which the first three are masters."""
    with _home() as home, contextlib.ExitStack() as stack:
        password = secrets.token_hex(16)
        nodes: list[RedisServer] = []
        for number in range(CLUSTER_NODES):
            folder = home / str(number)
            folder.mkdir()
            node = start_redis(folder, password, "--cluster-enabled", "yes", "--masterauth", password, *options)
            stack.callback(node.stop)
            nodes.append(node)
        _join(nodes)
        yield nodes


def cluster_url(nodes: list[RedisServer]) -> str:
    return nodes[0].url.replace("redis://", "redis+cluster://").removesuffix("/0")


def empty_redis(url: str) -> None:
    """Delete all that is in a server, or in a cluster: by its masters, as a client of all of it takes ten times as long
    to make."""
    with redis.Redis.from_url(url.replace("+cluster", "")) as client:
        if "+cluster" not in url:
            client.flushall()
            return
        nodes: dict[str, dict[str, str]] = client.execute_command("CLUSTER NODES")
        password = client.get_connection_kwargs()["password"]
    for address in (address for address, node in nodes.items() if "master" in node["flags"]):
        host, _, port = address.rpartition(":")
        with redis.Redis(host=host, port=int(port), password=password) as master:
            master.flushall()


def start_redis(home: Path, password: str, *options: str, program_options: tuple[str, ...] = ()) -> RedisServer:
    """Another program may take the free port before the server does: then try another one."""
    program, _ = find_redis_programs()
    for _ in range(START_ATTEMPTS):
        port = _pick_port()
        command = [
            program,
            *program_options,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--requirepass",
            password,
            "--dir",
            str(home),
        ]
        command += ["--save", "", "--daemonize", "no", *options]
        server = RedisServer(command, home / "log", port, password)
        if _answers_in_time(server):
            return server
        server.stop()
    raise RuntimeError(f"Redis did not start:\n{(home / 'log').read_text()[-4000:]}")


def _join(nodes: list[RedisServer]) -> None:
    _, cli = find_redis_programs()
    addresses = [f"127.0.0.1:{node.port}" for node in nodes]
    command = [cli, "-a", nodes[0].password, "--no-auth-warning", "--cluster", "create", *addresses]
    command += ["--cluster-replicas", "1", "--cluster-yes"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"no cluster was made:\n{done.stdout}{done.stderr}")
    deadline = time.monotonic() + START_SECONDS
    while any(_knows_of(node) < CLUSTER_NODES for node in nodes):
        if time.monotonic() > deadline:
            raise RuntimeError("the cluster's nodes did not all come to know each other")
        time.sleep(0.05)


def _knows_of(node: RedisServer) -> int:
    """How many nodes it takes to be well, itself too; 0 while the cluster does not work for it."""
    with node.client() as client:
        info = client.execute_command("CLUSTER INFO")
        lines = info.decode() if isinstance(info, bytes) else "\n".join(f"{k}:{v}" for k, v in info.items())
        nodes: dict[str, dict[str, str]] = client.execute_command("CLUSTER NODES")
        has_copy = client.info("replication").get("master_link_status", "up") == "up"
    flags = [node["flags"].split(",") for node in nodes.values()]
    is_whole = len(flags) == CLUSTER_NODES and sum("slave" in of_node for of_node in flags) == CLUSTER_NODES // 2
    is_well = is_whole and not any({"fail", "fail?", "handshake", "noaddr"} & set(of_node) for of_node in flags)
    return CLUSTER_NODES if is_well and has_copy and "cluster_state:ok" in lines else 0


def _answers_in_time(server: RedisServer) -> bool:
    deadline = time.monotonic() + START_SECONDS
    with server.client() as client:
        while time.monotonic() < deadline and server.process.poll() is None:
            try:
                return bool(client.ping())
            except redis.RedisError:
                time.sleep(0.02)
    return False


def _pick_port() -> int:
    while (port := pick_free_port()) + BUS_OFFSET > 65535:
        pass
    return port


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="tallystick-redis-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
