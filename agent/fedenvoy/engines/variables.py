"""The environment variables of an experiment's process: by a list of what it may need, for the agent's hold secrets.

A leaf: it knows names and patterns, nothing of the site.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

__all__ = ["NEVER", "child_environment", "dropped"]

_USUAL = {
    "where programs, files and libraries are": "PATH HOME SHELL TMPDIR TMP TEMP XDG_CACHE_HOME XDG_DATA_HOME PYTHON* "
    "VIRTUAL_ENV CONDA_* MAMBA_* LD_LIBRARY_PATH LIBRARY_PATH CPATH CC CXX",
    "who, where and when": "USER LOGNAME TERM LANG LANGUAGE LC_* TZ",
    "proxies and authorities": "http_proxy https_proxy ftp_proxy all_proxy no_proxy grpc_proxy no_grpc_proxy "
    "HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY GRPC_* SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE "
    "CURL_CA_BUNDLE",
    "what it computes on": "OMP_* KMP_* GOMP_* MKL_* OPENBLAS_* BLIS_* GOTO_* VECLIB_* NUMEXPR_* "
    "NUMBA_* MALLOC_* CUDA_* CUDNN_* CUBLAS_* NVIDIA_* NCCL_* GLOO_* HIP_* HSA_* ROCR_* ROCM_* ONEAPI_* SYCL_*",
    "what libraries read": "HF_* HUGGINGFACE_* TRANSFORMERS_* TOKENIZERS_* DATASETS_* TORCH_* PYTORCH_* "
    "TORCHINDUCTOR_* TRITON_* TF_* KERAS_* JAX_* XLA_* KAGGLE_* MPL* NLTK_DATA SKLEARN_* "
    "SCIKIT_LEARN_* JOBLIB_* MONAI_* OPENFL_*",
}
_SECRET = frozenset({"TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIALS"})
_SECRET_ENDINGS = ("_API_KEY", "_ACCESS_KEY", "_PRIVATE_KEY", "_ACCESS_KEY_ID")
NEVER = frozenset(
    {"PYTHONHOME", "PYTHONSAFEPATH", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    | {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
)
"""What belongs to the agent's own interpreter, or to its service manager, and would mislead another process."""


def child_environment(
    base: Mapping[str, str],
    devices: Sequence[int | str] = (),
    *,
    hide: bool = False,
    more: Sequence[str] = (),
) -> dict[str, str]:
    """Give the environment variables of an experiment.

    Args:
        base: The agent's own.
        devices: The GPUs configured; the experiment sees these only, in this order. Empty: whatever it sees anyway.
        hide: With no `devices`: whether it sees none at all.
        more: What the site adds: names, or `NAME=value`; a value wins over the agent's.

    """
    given = dict(entry.split("=", 1) for entry in more if "=" in entry)
    named = {entry for entry in more if "=" not in entry}
    env = {name: value for name, value in base.items() if name in named or _usual(name)}
    env |= given
    env = {name: value for name, value in env.items() if name not in NEVER}
    env["PYTHONUNBUFFERED"] = "1"
    if devices:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, devices))
        env.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the numbers are the driver's, as the monitor reads them
    elif hide:
        env["CUDA_VISIBLE_DEVICES"] = ""
    return env


def dropped(base: Mapping[str, str], more: Sequence[str] = ()) -> tuple[str, ...]:
    """Give the names of the agent's variables that an experiment does not get, in order; never their values."""
    kept = child_environment(base, more=more)
    return tuple(sorted(name for name in base if name not in kept and name not in NEVER))


def _usual(name: str) -> bool:
    if _SECRET.intersection(name.upper().split("_")) or name.upper().endswith(_SECRET_ENDINGS):
        return False
    return any(fnmatch.fnmatchcase(name, pattern) for group in _USUAL.values() for pattern in group.split())
