"""Ray, here or on a cluster: the only module that imports it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tapioca.errors import UsageError, first_line

LOCAL = "local"
"""The address of a Ray that lives in this machine as long as the command."""

STARTING = "starting Ray, which takes some seconds, on a busy machine minutes"

SECONDS_TO_CONNECT = 10.0
SECONDS_TO_START = 120
"""For the first process of a local Ray; it gives the next one 30 seconds, whatever it is told."""
STARTS = 3
"""How often a local Ray is started that is not there in time."""

HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
HTTP2_SETTINGS = b"\x04"
"""What gRPC, which Ray speaks, begins with: the client's words and an empty frame of settings, and the fourth byte of the
answer, which is one too."""

ADVICE = "give the HOST:PORT that `ray start --head` printed, on a machine of that cluster, or --ray local for this machine alone"


@contextmanager
def connect_ray(address: str, n_workers: int | None, shows_logs: bool = False) -> Iterator[ModuleType]:
    """Ray, connected to a cluster, or to one of this machine's that ends with the body; one that the process uses already
    is left as it is.

    Args:
        address: of the cluster, or `LOCAL`.
        n_workers: how many are to find room in this machine.
        shows_logs: whether what workers print is printed here too.

    Raises:
        UsageError: Ray is not installed, does not start, or does not answer at the address.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"  # the first worker's error is said; Ray would print those of others
    try:
        import ray
    except ImportError as error:
        raise UsageError("--ray needs the package ray; install it with: pip install 'tapioca-prune[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": shows_logs, "logging_level": logging.ERROR}
    try:
        with _handler_of_sigterm_kept():
            if address == LOCAL:
                _start_local(ray, n_workers, options)
            else:
                _connect(ray, address, options)
        yield ray
    finally:
        ray.shutdown()


def _start_local(ray: ModuleType, n_workers: int | None, options: dict[str, Any]) -> None:
    """Start Ray on this machine; where that is busy it takes long, so it is tried again."""
    os.environ.setdefault("RAY_worker_niceness", "0")  # else they yield to all else that runs here
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", str(SECONDS_TO_START))
    cores, begin = max(os.cpu_count() or 1, n_workers or 1), time.monotonic()
    for starts_left in reversed(range(STARTS)):
        try:
            ray.init(address=LOCAL, num_cpus=cores, include_dashboard=False, **options)
            return
        except OSError as error:
            raise UsageError(
                f"--ray local: {first_line(error):.200}; name a folder for Ray's files with the environment variable "
                "RAY_TMPDIR, such as /tmp"
            ) from error
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            if not starts_left:
                seconds = time.monotonic() - begin
                raise UsageError(
                    f"--ray local: Ray did not start in {STARTS} tries and {seconds:.0f} s ({first_line(error):.200}); "
                    "run the same command again when this machine is less busy, or without --ray"
                ) from error


def _connect(ray: ModuleType, address: str, options: dict[str, Any]) -> None:
    """Connect to a cluster that is there."""
    _refuse_unreachable(address)
    try:
        ray.init(address=address, **options)
    except Exception as error:  # Ray raises bare ones too
        raise UsageError(f"--ray {address}: {first_line(error):.200}; {ADVICE}") from error


def list_nodes(ray: ModuleType) -> list[dict[str, Any]]:
    """What each machine of a cluster has, as Ray names it."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _refuse_unreachable(address: str) -> None:
    """Refuse an address where nobody listens, since Ray would wait for somebody for a long time."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UsageError(f"--ray {address} is no address; {ADVICE}")
    try:
        with socket.create_connection((host, int(port)), SECONDS_TO_CONNECT) as connection:
            connection.sendall(HTTP2_GREETING)
            if connection.recv(4)[3:] != HTTP2_SETTINGS and os.environ.get("RAY_USE_TLS") != "1":
                raise ConnectionError("whoever listens is no head of Ray's")
    except (OSError, OverflowError) as error:
        raise UsageError(f"--ray {address}: no answer from there ({first_line(error)}); {ADVICE}") from error


@contextmanager
def _handler_of_sigterm_kept() -> Iterator[None]:
    """Undo that Ray puts a handler of its own in the place of this program's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
