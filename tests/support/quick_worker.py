"""The process that renders templates, with less patience."""

from tapioca.tasks import worker


def main() -> None:
    worker.main(seconds=0.3)
