"""A model hub on loopback: folders served as repositories to the real clients, and what a real hub does to its users."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "refs/convert/parquet", COMMIT)

FAULTS: dict[str, tuple[int, str, str]] = {
    "gated": (
        401,
        "GatedRepo",
        "Access to {kind} {id} is restricted. You must have access to it and be authenticated to access it. Please log in.",
    ),
    "not listed": (
        403,
        "GatedRepo",
        "Access to {kind} {id} is restricted and you are not in the authorized list. "
        "Visit https://huggingface.co/{id} to ask for access.",
    ),
    "disabled": (403, "", "Access to this resource is disabled."),
    "broken": (500, "", "Internal Error - We're working hard to fix this as soon as possible!"),
}
"""Status, code and message with which the hub answers for a repository."""


class Hub:
    """Folders as repositories: ROOT/models/OWNER/NAME and ROOT/datasets/OWNER/NAME.

    Attributes:
        faults: of a repository by its id: a name of `FAULTS`; "torn", whose files break off in the middle when they are
            first sent; or "torn for good".
        sent: bytes sent of each file.
    """

    def __init__(self, root: Path):
        self.root, self.faults = root, dict[str, str]()
        self.sent = dict[str, int]()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Answers,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def push(self, kind: str, name: str, folder: Path) -> None:
        """Serve a folder as a repository; `kind` is "models" or "datasets"."""
        home = self.root / kind / name
        home.parent.mkdir(parents=True, exist_ok=True)
        home.symlink_to(folder.resolve())

    def push_rows(self, name: str, configs: dict[str, dict[str, Any]]) -> None:
        """Serve rows as a data set, by configuration and split, in Parquet files as the hub keeps them.

        Rows are a list of dicts, or a `datasets.Dataset` where the types of its columns matter.
        """
        from datasets import Dataset  # not by the process of `Client`, where the command imports it

        home = self.root / "datasets" / name
        card = ["---", "configs:"]
        for config, splits in configs.items():
            card += [f"- config_name: {config}", "  data_files:"]
            for split, rows in splits.items():
                card += [f"  - split: {split}", f"    path: {config}/{split}-*"]
                table = rows if isinstance(rows, Dataset) else Dataset.from_list(rows)
                table.to_parquet(home / config / f"{split}-00000-of-00001.parquet")
        home.joinpath("README.md").write_text("\n".join([*card, "---", ""]))


class Answers(BaseHTTPRequestHandler):
    """What the hub answers, as far as its clients ask when they read."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        """One request: about a repository, or for one of its files."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlparse(self.path)
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        about = parts[0] == "api"
        parts = parts[about:]
        kind = parts.pop(0) if parts[0] in ("models", "datasets") else "models"
        name, rest = "/".join(parts[:2]), parts[2:]
        home, fault = self.hub.root / kind / name, self.hub.faults.get(name)
        if not home.is_dir():
            self.refuse(401, "RepoNotFound", "Invalid username or password.")
        elif fault in FAULTS and not (about and FAULTS[fault][1] == "GatedRepo"):
            status, code, message = FAULTS[fault]
            self.refuse(status, code, message.format(kind=kind[:-1], id=name))
        elif len(rest) > 1 and rest[1] not in REVISIONS:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {rest[1]}")
        elif about:
            self.describe(home, name, rest, urllib.parse.parse_qs(url.query), body)
        elif (home / "/".join(rest[2:])).is_file():
            self.send_file(home / "/".join(rest[2:]), fault)
        else:
            self.refuse(404, "EntryNotFound", "Entry not found")

    def describe(self, home: Path, name: str, rest: list[str], query: dict[str, list[str]], body: bytes) -> None:
        """What the interface knows of a repository: what it is, its files, or some of its paths."""
        files = [entry(home, path) for path in sorted(home.rglob("*")) if path.is_file()]
        folders = [entry(home, path) for path in sorted(home.rglob("*")) if path.is_dir()]
        if not rest or rest[0] == "revision":
            siblings = [{"rfilename": file["path"]} for file in files]
            about = {"id": name, "sha": COMMIT, "private": False, "gated": False, "tags": [], "siblings": siblings}
            self.send(json.dumps(about).encode())
        elif rest[0] == "tree":
            under = "/".join(rest[2:])
            deep = query.get("recursive", ["false"])[0].lower() in ("true", "1")
            inside = [file for file in files + folders if file["path"].startswith(f"{under}/" if under else "")]
            flat = [file for file in inside if "/" not in file["path"].removeprefix(under).strip("/")]
            if inside:
                self.send(json.dumps(inside if deep else flat).encode())
            else:
                self.refuse(404, "EntryNotFound", "Entry not found")
        else:
            asked = json.loads(body) if body[:1] == b"{" else urllib.parse.parse_qs(body.decode())
            self.send(json.dumps([file for file in files + folders if file["path"] in asked["paths"]]).encode())

    def send_file(self, path: Path, fault: str | None) -> None:
        """A file, or the part of it that is asked for."""
        data, asked = path.read_bytes(), self.headers.get("Range")
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        first = 0
        if asked:
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start or 0), int(end or len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data = data[first : last + 1]
        breaks = fault == "torn for good" or (fault == "torn" and not self.hub.sent.get(self.path))
        torn = breaks and self.command == "GET" and path.suffix in (".parquet", ".safetensors")
        self.send(data, 206 if asked else 200, headers, len(data) // 2 if torn else None)

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer with the hub's way of saying why not."""
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.send(json.dumps({"error": message}).encode(), status, {k: v for k, v in headers.items() if v})

    def send(
        self, data: bytes, status: int = 200, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        """An answer, or the first `cut` bytes of it before the connection breaks."""
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut])
            self.hub.sent[self.path] = self.hub.sent.get(self.path, 0) + len(data[:cut])
        self.close_connection = cut is not None


def entry(home: Path, path: Path) -> dict[str, Any]:
    """A file or a folder as the hub lists it."""
    name = path.relative_to(home).as_posix()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": COMMIT, "size": 0}
    return {
        "type": "file",
        "path": name,
        "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
        "size": path.stat().st_size,
    }


@contextmanager
def serving(root: Path) -> Iterator[Hub]:
    """A hub as long as the block runs."""
    hub = Hub(root)
    thread = Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Client:
    """A process of its own in which commands of `tapioca` run one after the other, with the environment of a user.

    A process, since the hub's clients read their settings when they are imported; one, since that takes seconds.
    """

    def __init__(self, home: Path, endpoint: str, **environment: str):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        said = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "COLUMNS": "200", **environment}
        self.files = home / "out", home / "err"
        home.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, *map(str, self.files)],
            env={**kept, **said},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: str) -> Done:
        """Run one command line."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(argv) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return Done(code, *(file.read_text() for file in self.files))

    def lend_cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process, which is offline, see what that one has downloaded."""
        home = self.files[0].parent
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", home / "datasets")

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def run_commands(out: str, err: str) -> None:
    """The other side: command lines come in as JSON, what they print goes to two files, and their exit codes back."""
    time.sleep = lambda seconds: None  # the hub's clients wait between their tries; tests do not
    answers = os.fdopen(os.dup(1), "w")
    from tapioca.cli.main import main

    for line in sys.stdin:
        for number, name in ((1, out), (2, err)):
            target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(target, number)
            os.close(target)
        try:
            code = main(json.loads(line))
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        print(code, file=answers, flush=True)


if __name__ == "__main__":
    run_commands(*sys.argv[1:])
