"""What is exported: the files of a model, as a folder, whatever the user named."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from transformers import PreTrainedModel

from tapioca.checkpoints.companions import write_settings
from tapioca.checkpoints.files import code_files, companion_files, copy_files, module_files, vocabulary_files
from tapioca.disk import explain_failure
from tapioca.errors import ExportError, ModelError, UsageError, first_line
from tapioca.hub import explain_hub_error, hide_progress_bars
from tapioca.models.adapters import refuse_adapter
from tapioca.models.edit import is_planned
from tapioca.models.files import WEIGHTS_FIELD
from tapioca.models.identity import describe_model, has_own_code
from tapioca.models.load import has_tokenizer, load, resolve_model_name
from tapioca.reading import read_object

IGNORED_WEIGHTS = ["*.bin", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.msgpack", "*.h5"]


@dataclass(frozen=True)
class ExportSource:
    """A model to export.

    Attributes:
        model: a folder, a hub id, or a live model.
        revision: branch, tag or commit of a hub model.
        adapter: a folder with an adapter that is merged first.
        trust_remote_code: whether code that comes with the model may run; a live model's runs already.
    """

    model: str | Path | PreTrainedModel
    revision: str | None = None
    adapter: str | Path | None = None
    trust_remote_code: bool = False

    @property
    def name(self) -> str:
        """What the model is called where it came from."""
        return describe_model(self.model) if isinstance(self.model, PreTrainedModel) else str(self.model)

    @property
    def runs_own_code(self) -> bool:
        """Whether the model's own code runs."""
        live = isinstance(self.model, PreTrainedModel) and has_own_code(self.model)
        return self.trust_remote_code or live

    @contextmanager
    def name_in_errors(self, folder: Path) -> Iterator[None]:
        """Let what a body says against the model name it; for a live one, or one with a merged adapter, the folder that is
        read is a temporary one, which tells nobody anything."""
        try:
            yield
        except (ExportError, ModelError) as error:
            message = str(error)
            if folder != Path(self.name):
                message = message.replace(str(folder), self.name)
            is_named = any(name in message for name in (self.name, str(folder)))
            error.args = (message if is_named else f"{self.name}: {message}",)
            raise

    def find_folder(self, scratch: Path) -> Path:
        """The model as it came: its folder, the hub's snapshot of it, or a live model saved to `scratch`.

        Raises:
            ExportError: the live model cannot be saved.
            UsageError: there is no such model, or the live one is under a plan or carries an adapter.
        """
        if isinstance(self.model, PreTrainedModel):
            return _save_live_model(self.model, scratch)
        folder = Path(resolve_model_name(str(self.model)))
        return folder if folder.is_dir() else _download_snapshot(str(self.model), self.revision)

    def merge_into_folder(self, folder: Path, scratch: Path) -> Path:
        """The folder that is to be cut: the model's own, or where there is an adapter one with merged weights.

        Raises:
            ModelError: the folder holds an adapter nobody asked for, or this one cannot be merged.
        """
        if not self.adapter:
            refuse_adapter(str(folder))
            return folder
        model, tokenizer = load(folder, device="cpu", adapter=self.adapter, trust_remote_code=self.runs_own_code)
        with hide_progress_bars(), explain_failure(scratch):
            model.save_pretrained(scratch)
        config = read_object(folder / "config.json", ExportError)
        kept_fields = {name: field for name, field in config.items() if name != WEIGHTS_FIELD}
        write_settings(scratch / "config.json", kept_fields)
        paths = [
            *companion_files(folder),
            *module_files(folder),
            *code_files(folder),
            *vocabulary_files(folder, tokenizer),
        ]
        copy_files(folder, paths, scratch)
        if has_tokenizer(Path(self.adapter)):
            copy_files(Path(self.adapter), companion_files(Path(self.adapter)), scratch)
        return scratch


def _save_live_model(model: PreTrainedModel, scratch: Path) -> Path:
    if is_planned(model):
        raise UsageError("the model is under a plan; leave the with block, or compose the two plans into one")
    if getattr(model, "_hf_peft_config_loaded", False):
        raise UsageError(
            "the model carries an adapter; merge it into the weights first, with peft's merge_and_unload()"
        )
    with hide_progress_bars(), explain_failure(scratch):
        try:
            model.save_pretrained(scratch)
        except (ValueError, NotImplementedError) as error:  # some ways of quantising cannot be saved
            raise ExportError(f"transformers cannot save this live model: {first_line(error)}") from error
    return scratch


def _download_snapshot(name: str, revision: str | None) -> Path:
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, ignore_patterns=IGNORED_WEIGHTS))
    except Exception as error:  # the hub's client lets those of its HTTP library through
        reason = explain_hub_error(error, "model", name, revision)
        raise UsageError(reason or f"no run and no model at '{name}': {error}") from error
