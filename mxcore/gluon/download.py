"""Downloading files: mirrors, retries, progress, SHA-1, and never a half-written file under the final name."""

import hashlib
import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..errors import MXNetError

__all__ = ["check_sha1", "download", "replace_file"]

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_PERMANENT = (400, 401, 403, 404, 405, 410)  # HTTP answers that will not get better by asking again


def check_sha1(filename: str | os.PathLike, sha1_hash: str) -> bool:
    """Whether the SHA-1 of a file's content is ``sha1_hash``.

    Parameters
    ----------
    filename : path
        The file.
    sha1_hash : str
        Expected digest, 40 hexadecimal digits.

    Examples
    --------
    >>> import os
    >>> check_sha1(os.devnull, "da39a3ee5e6b4b0d3255bfef95601890afd80709")
    True
    """
    with open(filename, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest() == sha1_hash.lower()


def download(url: str | Sequence[str], path: str | os.PathLike | None = None, overwrite: bool = False,
             sha1_hash: str | None = None, retries: int = 5, verify_ssl: bool = True) -> str:
    """Fetch a file, unless it is there already.

    The file is written under a temporary name beside its place, checked, and moved there at once, so that an
    interrupted download leaves nothing behind.

    Parameters
    ----------
    url : str or sequence of str
        Where it is; several addresses are mirrors, tried in this order.
    path : path, optional
        File to write, or a folder to write it into under the name in the address. Default: the current folder.
    overwrite : bool
        Fetch it even if the file exists.
    sha1_hash : str, optional
        Expected SHA-1. An existing file with another one is fetched again.
    retries : int
        How often to try each address again after a failure that may pass.
    verify_ssl : bool
        Whether the server's certificate must be valid.

    Returns
    -------
    str
        The path of the file.

    Raises
    ------
    MXNetError
        If no address gave the file; names each one with its reason.
    """
    urls = [url] if isinstance(url, str) else list(url)
    if not urls or not all(urls):
        raise MXNetError("download() needs an address, but got none")
    if retries < 0:
        raise AssertionError(f"Number of retries should be at least 0, currently it's {retries}")
    target = Path(path).expanduser() if path is not None else Path()
    if path is None or target.is_dir() or str(path).endswith(("/", os.sep)):
        target /= urls[0].rstrip("/").rsplit("/", 1)[-1]
    if not overwrite and target.is_file() and (sha1_hash is None or check_sha1(target, sha1_hash)):
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for address in urls:
        reason = _attempts(address, target, sha1_hash, retries, verify_ssl)
        if reason is None:
            return str(target)
        reasons.append(f"  {address}: {reason}")
    raise MXNetError(f"cannot download {target.name}:\n" + "\n".join(reasons) + f"\nIf this machine has no network, "
                     f"put the file at {target} by hand.")


def replace_file(src: str | os.PathLike, dst: str | os.PathLike) -> None:
    """Move a file to ``dst`` in one step, in place of what is there (MXNet's name for ``os.replace``)."""
    os.replace(src, dst)


def _attempts(url: str, target: Path, sha1_hash: str | None, retries: int, verify_ssl: bool) -> str | None:
    """Try one address; None when the file stands at ``target``, else why it does not."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    reason = ""
    for attempt in range(retries + 1):
        if attempt:
            time.sleep(min(0.5 * 2 ** attempt, 8.0))
        try:
            digest = _fetch(url, part, verify_ssl)
            if sha1_hash is None or digest == sha1_hash.lower():
                os.replace(part, target)
                return None
            reason = f"its SHA-1 is {digest}, not {sha1_hash}"
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            error.close()
            if error.code in _PERMANENT:
                return reason
        except urllib.error.URLError as error:
            reason = str(error.reason)
            if isinstance(error.reason, (socket.gaierror, FileNotFoundError)):
                return reason
        except (ConnectionError, TimeoutError, urllib.error.ContentTooShortError) as error:
            reason = str(error) or type(error).__name__
        finally:
            part.unlink(missing_ok=True)
    return f"{reason} (tried {retries + 1} times)"


def _fetch(url: str, part: Path, verify_ssl: bool) -> str:
    """Write the content of ``url`` to ``part``; returns its SHA-1."""
    context = None if verify_ssl else ssl._create_unverified_context()
    request = urllib.request.Request(url, headers={"User-Agent": "mxcore"})
    digest = hashlib.sha1(usedforsecurity=False)
    with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as reply, open(part, "wb") as file:
        total = int(reply.headers.get("Content-Length") or 0)
        progress = _Progress(url, total, sys.stderr)
        done = 0
        while block := reply.read(_CHUNK):
            file.write(block)
            digest.update(block)
            done += len(block)
            progress.show(done)
        progress.end()
    if total and done < total:
        raise urllib.error.ContentTooShortError(f"only {done} of {total} bytes arrived", None)  # type: ignore[arg-type]
    return digest.hexdigest()


class _Progress:
    """One line of progress: rewritten in place on a terminal, written once elsewhere."""

    def __init__(self, url: str, total: int, stream: IO[str]) -> None:
        self.name = url.rsplit("/", 1)[-1]
        self.total = total
        self.stream = stream
        self.live = stream.isatty()
        self.shown = 0.0
        size = f" ({total / 1e6:.1f} MB)" if total else ""
        stream.write(f"Downloading {url}{size}" + ("\n" if not self.live else "\n\r"))

    def show(self, done: int) -> None:
        now = time.monotonic()
        if self.live and (now - self.shown > 0.1 or done == self.total):
            self.shown = now
            share = f"{100 * done / self.total:5.1f} %" if self.total else ""
            self.stream.write(f"\r{self.name}: {done / 1e6:8.1f} MB {share}")
            self.stream.flush()

    def end(self) -> None:
        if self.live:
            self.stream.write("\n")
