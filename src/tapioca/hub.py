"""The model hub's clients: what they raise, told in one line with the hub's reason and the cure, and their bars hidden."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

Kind = Literal["model", "data set"]

TRANSPORT_ERROR = HfHubHTTPError.__bases__[0]
"""The base of what the client's HTTP library raises, whichever library that is."""

UNREACHABLE_ERRORS = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
"""Of these, the names of those raised before anything came back."""


def explain_hub_error(error: BaseException, kind: Kind, name: str, revision: str | None = None) -> str | None:
    """Why the hub gave no model or data set, and what to do; None where the error is not about the hub.

    Args:
        error: what a client raised; those it came from are looked at too.
        kind: what was asked for.
        name: its id.
        revision: of it, where one was asked for.
    """
    causes = list(_iterate_causes(error))
    if kind == "data set":
        if isinstance(error, ValueError) and ("Config name" in str(error) or "BuilderConfig" in str(error)):
            return _explain_configuration(name, revision)
        if not os.path.exists(name):
            causes += _iterate_causes(
                _request_data_set_card(name, revision)
            )  # the datasets library cuts off what its own error came from
    page = f"https://huggingface.co/{'datasets/' if kind == 'data set' else ''}{name}"
    for cause in causes:
        if isinstance(cause, HFValidationError):
            return f"no {kind} '{name}': neither a folder here nor a hub {kind}, whose names are OWNER/NAME"
        if isinstance(cause, GatedRepoError):
            return f"the {kind} '{name}' is gated: {_hub_reason(cause)}; accept its terms at {page}, then log in with 'hf auth login'"
        if isinstance(cause, DisabledRepoError):
            return f"the hub has disabled the {kind} '{name}' ({page}); use another one, or a copy in a folder"
        if isinstance(cause, RevisionNotFoundError):
            return f"the {kind} '{name}' has no revision '{revision or 'main'}'; its branches, tags and commits are at {page}/tree/main"
        if isinstance(cause, RepositoryNotFoundError):
            return (
                f"no {kind} '{name}': neither a folder here nor a hub {kind} that you may see; "
                "check the name, and for a private one log in with 'hf auth login'"
            )
    offline = any(isinstance(cause, OfflineModeIsEnabled) for cause in causes)
    if offline or (constants.HF_HUB_OFFLINE and any(isinstance(cause, LocalEntryNotFoundError) for cause in causes)):
        return (
            f"no {kind} '{name}': neither a folder here nor a hub {kind} that was downloaded before, and HF_HUB_OFFLINE is set; "
            "unset it, or run once with it unset"
        )
    return next((line for cause in causes if (line := _explain_transport(cause, kind, name))), None)


def _explain_configuration(name: str, revision: str | None) -> str:
    """That a configuration must be named, or is none."""
    from datasets import get_dataset_config_names

    known = ", ".join(sorted(get_dataset_config_names(name, revision=revision)))
    return f"which configuration of the data set '{name}'? say hub:{name},name=... (in a YAML of lm-eval's, dataset_name); known: {known}"


def _explain_transport(cause: BaseException, kind: Kind, name: str) -> str | None:
    """The same for what went wrong on the way, and for whatever else the hub answered."""
    reason = " ".join(str(cause).split()) or type(cause).__name__
    if isinstance(cause, HfHubHTTPError) and cause.response.status_code != 404:
        status = cause.response.status_code
        cure = "log in again with 'hf auth login'" if status in (401, 403) else "try again later"
        return f"the hub refused the {kind} '{name}' ({status}: {_hub_reason(cause)}); {cure}"
    if isinstance(cause, TRANSPORT_ERROR) and type(cause).__name__ in UNREACHABLE_ERRORS:
        return f"cannot reach the hub at {constants.ENDPOINT} for the {kind} '{name}' ({reason}); check the connection, and HF_ENDPOINT if you set it"
    if (
        isinstance(cause, TRANSPORT_ERROR) and not isinstance(cause, HfHubHTTPError)
    ) or "Consistency check failed" in reason:
        return f"the connection broke while the {kind} '{name}' was fetched ({reason}); run the same again: files that came whole are kept"
    return None


def _iterate_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _request_data_set_card(name: str, revision: str | None) -> BaseException | None:
    """What the hub says to a request for the card of a data set, if that is an error."""
    try:
        get_hf_file_metadata(hf_hub_url(name, "README.md", repo_type="dataset", revision=revision))
    except Exception as error:  # any of the client's
        return error
    return None


def _hub_reason(error: HfHubHTTPError) -> str:
    """What the hub itself says, without a full stop."""
    message = error.server_message or str(error.response.headers.get("X-Error-Message") or error.response.reason_phrase)
    return " ".join(message.split()).rstrip(".")


@contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Hide the progress bars of the hub's clients, of `datasets` and of transformers: the caller shows progress."""
    with ExitStack() as stack:
        transformers = sys.modules.get("transformers.utils.logging")
        if transformers and transformers.is_progress_bar_enabled():
            transformers.disable_progress_bar()
            stack.callback(transformers.enable_progress_bar)
        if not are_progress_bars_disabled():
            disable_progress_bars()
            stack.callback(enable_progress_bars)
        datasets = sys.modules.get("datasets")
        if datasets and datasets.is_progress_bar_enabled():
            datasets.disable_progress_bars()
            stack.callback(datasets.enable_progress_bars)
        yield
