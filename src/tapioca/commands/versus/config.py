"""What a user asks of `tapioca versus`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from tapioca.errors import UsageError
from tapioca.records.config import RunConfig

OWN_SETTINGS = {
    "model",
    "revision",
    "adapter",
    "out",
    "take_over",
    "device",
    "dtype",
    "trust_remote_code",
    "plan_batching",
    "state_memory",
    "no_shared_context",
    "ray",
    "workers",
}
"""Settings of a comparison that a run does not bring along."""


class VersusConfig(RunConfig):
    """The request behind `tapioca versus`."""

    verb = "versus"
    arguments = ("model", "other")
    without: ClassVar[frozenset[str]] = frozenset({"test", "search_share"})  # nothing is searched

    model: str = Field(min_length=1, description="A: a folder, or a hub id.")
    other: str = Field(min_length=1, description="B, the model that is held against it: a folder, or a hub id.")
    task: str = Field(
        default="",
        description="OOD data, as of `tapioca prune`; all rows are judged. With --run, where those of the run are now, if they were moved.",
    )
    reference: str | None = Field(default=None, description="ID data, of the same form, and moved likewise.")
    run: Path | None = Field(
        default=None, description="Folder of a finished `tapioca prune`: exactly its test rows, asked as there."
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of A, a hub model.")
    other_revision: str | None = Field(default=None, description="The same of B.")
    adapter: Path | None = Field(
        default=None, description="Folder with a LoRA adapter (peft), merged into A's weights first."
    )
    other_adapter: Path | None = Field(default=None, description="The same for B.")
    dry_run: bool = Field(
        default=False,
        description="Stop before anything is scored: show the models, how many rows are compared, and what they could show.",
    )

    def check(self) -> None:
        """Refuse a request that leaves open what is compared, or says it twice.

        Raises:
            UsageError: neither data nor a run are given, or settings beside a run that it brings along.
        """
        if not (self.task or self.run):
            raise UsageError("nothing to compare the models on; give --task and perhaps --reference, or --run RUN")
        brought = RunConfig.model_fields.keys() - OWN_SETTINGS - {"task", "reference"}
        said = [name for name in RunConfig.model_fields if name in brought and self._says(name)]
        if self.run and said:
            flag = f"--{said[0]}".replace("_", "-")
            raise UsageError(f"--run asks its rows as they were asked there; leave out {flag}, or --run")

    def _says(self, name: str) -> bool:
        """Whether a setting is another than the default."""
        return bool(getattr(self, name) != RunConfig.model_fields[name].default)
