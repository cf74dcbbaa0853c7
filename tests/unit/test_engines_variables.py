"""Which environment variables an experiment gets: the usual ones and those the site adds, and no secrets."""

from __future__ import annotations

import pytest
from fedenvoy.engines.variables import NEVER, child_environment, dropped

USUAL = (
    "PATH HOME LANG LC_ALL TZ TMPDIR http_proxy HTTPS_PROXY no_proxy no_grpc_proxy PYTHONPATH PYTHONHASHSEED "
    "LD_LIBRARY_PATH HF_HOME TORCH_HOME OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS CUDA_VISIBLE_DEVICES "
    "NVIDIA_VISIBLE_DEVICES NCCL_DEBUG KAGGLE_USERNAME KAGGLE_KEY KAGGLE_CONFIG_DIR CONDA_PREFIX XDG_CACHE_HOME "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE GRPC_VERBOSITY TOKENIZERS_PARALLELISM JAX_PLATFORMS VIRTUAL_ENV"
)
SECRET = (
    "HF_TOKEN HUGGINGFACE_HUB_TOKEN AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN GITHUB_TOKEN DB_PASSWORD "
    "TORCH_HUB_PASSWORD OPENFL_SECRET CUDA_API_KEY SSH_AUTH_SOCK VAULT_ADDR FEDENVOY_REVIEW_TOKEN "
    "CREDENTIALS_DIRECTORY XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS LD_PRELOAD DATABASE_URL UV_INDEX_URL"
)


@pytest.mark.parametrize("name", USUAL.split())
def test_what_experiments_usually_need_they_get(name: str) -> None:
    assert child_environment({name: "x"})[name] == "x"
    assert dropped({name: "x"}) == ()


@pytest.mark.parametrize("name", SECRET.split())
def test_what_may_be_a_secret_or_is_not_known_stays(name: str) -> None:
    assert name not in child_environment({name: "x"})
    assert dropped({name: "x"}) == (name,)


@pytest.mark.parametrize("name", sorted(NEVER))
def test_what_belongs_to_the_agents_own_process_stays_even_when_it_is_asked_for(name: str) -> None:
    assert name not in child_environment({name: "x"}, more=[name])
    assert name not in child_environment({}, more=[f"{name}=x"])
    assert dropped({name: "x"}) == ()


def test_the_site_adds_names_and_values() -> None:
    base = {"HF_TOKEN": "t", "DATA_DIR": "/data", "OTHER": "o"}
    env = child_environment(base, more=["HF_TOKEN", "MODE=fast=yes", "EMPTY=", "MISSING", "DATA_DIR=/elsewhere"])
    del env["PYTHONUNBUFFERED"]
    assert env == {"HF_TOKEN": "t", "MODE": "fast=yes", "EMPTY": "", "DATA_DIR": "/elsewhere"}
    assert dropped(base, ["HF_TOKEN", "DATA_DIR=/elsewhere"]) == ("OTHER",)
