"""Downloads from Hugging Face, by its own client."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from core.data_folder import is_full, storage_error
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded


def hub_download(repository: str, patterns: Sequence[str], folder: Path, reporter: Reporter) -> list[Path]:
    """Download those files of a repository that match a pattern and do not exist yet; return all that match.

    They are stored below ``folder`` as in the repository. HF_ENDPOINT names a mirror. Raises HarkError if there is no
    network or space, the repository or a file does not exist, or a file is altered.
    """
    from huggingface_hub import HfApi, RepoFile

    try:
        hub = HfApi()
        files = [entry for entry in hub.list_repo_tree(repository, recursive=True) if isinstance(entry, RepoFile)]
        wanted = [file for file in files if any(fnmatch(file.path, pattern) for pattern in patterns)]
        if not wanted:
            raise _failed(
                repository,
                folder,
                worded("%(repository)s does not have the files that Hark needs.", repository=repository),
            )
        for file in wanted:
            mb = round(file.size / 1e6)
            reporter.stage("pull", worded("Downloading %(file)s (%(mb)d MB)", file=Path(file.path).name, mb=mb))
            hub.hf_hub_download(repository, file.path, local_dir=folder, tqdm_class=_bar(reporter))
            if file.lfs is not None:
                _check(folder / file.path, file.lfs.sha256)
    except HarkError:
        raise
    except Exception as error:  # the client raises its own errors and those of its network library
        if isinstance(error, OSError) and (is_full(error) or error.filename is not None):
            raise storage_error(error, worded("downloading %(name)s", name=repository)) from error
        why = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no details'}."
        raise _failed(repository, folder, why) from error
    return [folder / file.path for file in wanted]


def _failed(repository: str, folder: Path, why: str) -> HarkError:
    return HarkError(
        worded("The model %(name)s could not be downloaded.", name=repository),
        why,
        worded(
            "Check the network, set HF_ENDPOINT to a mirror, or copy the model's files into %(target)s.", target=folder
        ),
    )


def _bar(reporter: Reporter) -> Any:
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        """A progress bar that reports progress instead of displaying it."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            reporter.progress(int(self.n), int(self.total or 0))

        def update_transfer(self, n: int) -> None:
            """Ignore transferred bytes, which the client would show in a second bar."""

    return Bar


def _check(path: Path, digest: str) -> None:
    """Remove a file, and raise HarkError, if it does not have this SHA-256."""
    with path.open("rb") as content:
        actual = hashlib.file_digest(content, "sha256").hexdigest()
    if actual != digest:
        path.unlink()
        raise HarkError(
            worded("%(name)s was discarded: it is not the file that the repository names.", name=path.name),
            worded("It has the digest %(found)s; %(digest)s was expected.", found=actual[:16], digest=digest[:16]),
            worded("Run the same command again; if it happens again, something on the network alters the file."),
        )
