"""Steps that replicas must confirm: each is followed, on the connection that it took, by a ``WAIT``.

``WAIT`` counts the replicas that have what its own connection wrote, and a step may find nothing to write: because a
former call, which was not confirmed, has done the same already. So a key that is gone in a millisecond is written in
between. Replicas receive all writes of a server in one order: who has this one, has all that the step has seen.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from tallystick.storage.redis.client import WaitRule

_ATTEMPTS: Final = 3
_LONGER_NAMES: Final = frozenset({"EVAL", "EVALSHA"})
"""Commands that have two more arguments before their first key."""

Command: TypeAlias = tuple[object, ...]


class TooFewReplicas(Exception):
    """A step was done, and too few replicas have said in time that they have it: a fail-over might lose it."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send these on one connection, and not as a transaction. The answer: one for each, errors among them."""

    node: Any
    commands: Sequence[Command]


@dataclass(frozen=True, slots=True)
class Relearn:
    """Ask the cluster anew who serves which slot."""


Confirming: TypeAlias = Generator[Send | Relearn, Any, list[Any]]


def confirm(client: Any, commands: Sequence[Command], rule: WaitRule) -> Confirming:  # noqa: ANN401
    """Run commands, each a step of its own; their answers, once enough replicas have them.

    Only what a node of a cluster has declined is sent again, to the one that it names: whether a server that does not
    answer has done a step, and told a replica, nobody can say.
    """
    answers: dict[int, Any] = {}
    left = list(range(len(commands)))
    for attempt in range(_ATTEMPTS):
        if attempt:
            yield Relearn()
        for node, numbers in _by_node(client, commands, left):
            sent = [part for number in numbers for part in (commands[number], _mark(commands[number]))]
            *found, count = yield Send(node, [*sent, ("WAIT", rule.replicas, rule.milliseconds)])
            pairs = zip(numbers, found[::2], found[1::2], strict=True)
            done = {number: (answer, mark) for number, answer, mark in pairs if not _is_moved(answer)}
            _raise_first([*(part for pair in done.values() for part in pair), count])
            if done and count < rule.replicas:
                raise TooFewReplicas(f"{count} of {rule.replicas} replicas have confirmed a step in time")
            answers |= {number: answer for number, (answer, _) in done.items()}
        left = [number for number in left if number not in answers]
        if not left:
            return [answers[number] for number in range(len(commands))]
    raise TooFewReplicas("the cluster's nodes do not agree on who serves a slot")


def run_confirmed(client: Any, commands: Sequence[Command], rule: WaitRule) -> list[Any]:  # noqa: ANN401
    """Drive :func:`confirm` on a synchronous client."""
    confirming = confirm(client, commands, rule)
    try:
        request = next(confirming)
        while True:
            request = confirming.send(_send(client, request))
    except StopIteration as end:
        return cast(list[Any], end.value)
    except Exception as error:
        if _is_of_cluster(client) and _is_broken(error):
            _send(client, Relearn())
        raise


async def run_confirmed_async(client: Any, commands: Sequence[Command], rule: WaitRule) -> list[Any]:  # noqa: ANN401
    """Drive :func:`confirm` on an asynchronous client."""
    if _is_of_cluster(client):
        await client.initialize()
    confirming = confirm(client, commands, rule)
    try:
        request = next(confirming)
        while True:
            request = confirming.send(await _send_async(client, request))
    except StopIteration as end:
        return cast(list[Any], end.value)
    except Exception as error:
        if _is_of_cluster(client) and _is_broken(error):
            await _send_async(client, Relearn())
        raise


def _send(client: Any, request: Send | Relearn) -> list[Any]:  # noqa: ANN401
    if isinstance(request, Relearn):
        client.nodes_manager.initialize(disconnect_startup_nodes_pools=False)
        return []
    server = client if request.node is None else client.get_redis_connection(request.node)
    return cast(list[Any], _fill(server.pipeline(transaction=False), request).execute(raise_on_error=False))


async def _send_async(client: Any, request: Send | Relearn) -> list[Any]:  # noqa: ANN401
    if isinstance(request, Relearn):
        await client.nodes_manager.initialize()
        return []
    if request.node is None:
        pipeline = _fill(client.pipeline(transaction=False), request)
        return cast(list[Any], await pipeline.execute(raise_on_error=False))
    from redis.asyncio.cluster import PipelineCommand  # noqa: PLC0415 - the driver, which is there by now

    sent = [PipelineCommand(number, *command) for number, command in enumerate(request.commands)]
    await request.node.execute_pipeline(sent)
    return [command.result for command in sent]


def _is_of_cluster(client: Any) -> bool:  # noqa: ANN401
    return hasattr(client, "get_node_from_key")


def _is_broken(error: Exception) -> bool:
    """Whether a server did not answer, so that another one may be serving its slots by now."""
    from redis.exceptions import ConnectionError, ReadOnlyError, TimeoutError  # noqa: PLC0415 - as above

    return isinstance(error, ConnectionError | ReadOnlyError | TimeoutError)


def _by_node(client: Any, commands: Sequence[Command], numbers: Sequence[int]) -> list[tuple[Any, list[int]]]:  # noqa: ANN401
    if not _is_of_cluster(client):
        return [(None, list(numbers))]
    groups: dict[str, tuple[Any, list[int]]] = {}
    for number in numbers:
        node = client.get_node_from_key(_key(commands[number]))
        groups.setdefault(node.name, (node, []))[1].append(number)
    return list(groups.values())


def _fill(pipeline: Any, request: Send) -> Any:  # noqa: ANN401
    for command in request.commands:
        pipeline.execute_command(*command)
    return pipeline


def _key(command: Command) -> str:
    return str(command[3 if command[0] in _LONGER_NAMES else 1])


def _mark(command: Command) -> Command:
    """A write into the slot of a command that leaves nothing there."""
    key = _key(command)
    tag = key.partition("{")[2].partition("}")[0] or key
    return ("SET", f"tallystick:w:{{{tag}}}", "", "PX", 1)


def _is_moved(answer: object) -> bool:
    from redis.exceptions import MovedError  # noqa: PLC0415 - as above

    return isinstance(answer, MovedError)


def _raise_first(answers: Sequence[object]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
