"""Start scripts of OpenFL's users, as they are but for `fx envoy`, which became `fedenvoy`."""

from __future__ import annotations

import pytest
from dropin.programs import Place
from fedenvoy.errors import Exit
from fedenvoy.testing import SandboxDirector, ThrowawayAuthority
from support.archives import archive

HEAD = "#!/bin/bash\nset -e\n"
START = "fx envoy start -n env_one -dh {H} -dp {P} --disable-tls"
PLAIN = {
    "fixed": (
        HEAD + "\nfx envoy start -n env_one --disable-tls --envoy-config-path envoy_config.yaml -dh {H} -dp {P}",
        (),
    ),
    "short options last": (
        HEAD + "\nfx envoy start -n env_one --disable-tls -dh {H} -dp {P} -ec envoy_config.yaml\n",
        (),
    ),
    "name and configuration as arguments": (
        HEAD + 'ENVOY_NAME=$1\nENVOY_CONF=$2\n\nfx envoy start -n "$ENVOY_NAME" --disable-tls '
        '--envoy-config-path "$ENVOY_CONF" -dh {H} -dp {P}\n',
        ("env_one", "envoy_config.yaml"),
    ),
    "long options": (
        HEAD + "fx envoy start --shard-name env_one --disable-tls --envoy-config-path=envoy_config.yaml "
        "--director-host {H} --director-port {P}\n",
        (),
    ),
    "the default configuration": (HEAD + START + "\n", ()),
}
"""Scripts for an unencrypted link, with their arguments."""

TLS = {
    "short options": (
        HEAD + 'ENVOY_NAME=$1\nDIRECTOR_FQDN=$2\n\nfx envoy start -n "$ENVOY_NAME" --envoy-config-path '
        'envoy_config.yaml -dh "$DIRECTOR_FQDN" -dp {P} -rc cert/root_ca.crt -pk cert/"$ENVOY_NAME".key '
        '-oc cert/"$ENVOY_NAME".crt'
    ),
    "the host beside its option": (
        HEAD + 'ENVOY_NAME=$1\nDIRECTOR_FQDN=$2\n\nfx envoy start -n "$ENVOY_NAME" --envoy-config-path '
        'envoy_config.yaml -dh"$DIRECTOR_FQDN" -dp {P} -rc cert/root_ca.crt -pk cert/"$ENVOY_NAME".key '
        '-oc cert/"$ENVOY_NAME".crt'
    ),
    "long options": (
        HEAD + 'fx envoy start --shard-name "$1" --tls --envoy-config-path envoy_config.yaml --director-host "$2" '
        '--director-port {P} --root-cert-path cert/root_ca.crt --private-key-path cert/"$1".key '
        '--public-cert-path cert/"$1".crt\n'
    ),
}
"""Scripts for an encrypted link; their arguments are the node's name and the director's host."""


def script(place: Place, text: str, director: SandboxDirector, name: str = "start_envoy.sh") -> str:
    """Write a script for this director, with `fx envoy` replaced."""
    text = text.replace("{H}", "localhost").replace("{P}", str(director.address.port))
    place.write(name, text.replace("fx envoy", "fedenvoy"))
    return name


@pytest.mark.parametrize("name", PLAIN)
def test_a_script_runs(place: Place, name: str) -> None:
    text, arguments = PLAIN[name]
    with SandboxDirector() as director:
        with place.running("bash", script(place, text, director), *arguments) as node:
            node.wait_for("--health_checked--> Idle")
            assert node.stop() == Exit.OK, node.output
        assert list(director.nodes) == ["env_one"]


@pytest.fixture
def authority(place: Place) -> ThrowawayAuthority:
    """A federation's authority, which has signed this node; its files lie where the scripts look for them."""
    authority = ThrowawayAuthority()
    pem = authority.issue("env_one")
    (place.home / "cert").mkdir()
    for name, content in (
        ("root_ca.crt", pem.root_certificate),
        ("env_one.key", pem.private_key),
        ("env_one.crt", pem.certificate),
    ):
        (place.home / "cert" / name).write_bytes(content)
    return authority


@pytest.mark.parametrize("name", TLS)
def test_a_script_with_certificates_runs(place: Place, authority: ThrowawayAuthority, name: str) -> None:
    with SandboxDirector(tls=authority.issue("director")) as director:
        with place.running("bash", script(place, TLS[name], director), "env_one", "localhost") as node:
            node.wait_for("--health_checked--> Idle")
            assert node.stop() == Exit.OK, node.output
        assert {call.identity for call in director.calls} == {"env_one"}


def test_what_a_script_exports_reaches_the_experiment(place: Place) -> None:
    text = (
        HEAD + "ENVOY_NAME=$1\nENVOY_CONF=$2\nDEFAULT_DEVICE='CPU'\n\nif [[ $DEFAULT_DEVICE == 'CPU' ]]\nthen\n"
        "    export JAX_PLATFORMS=\"cpu\" # comment\n    export CUDA_VISIBLE_DEVICES='-1'\nelse\n"
        '    export TF_FORCE_GPU_ALLOW_GROWTH=true\nfi\n\nfx envoy start -n "$ENVOY_NAME" --disable-tls '
        '--envoy-config-path "$ENVOY_CONF" -dh {H} -dp {P}\n'
    )
    code = (
        "import os\ndef run(*_):\n    assert os.environ['JAX_PLATFORMS'] == 'cpu'\n"
        "    return {'visible': int(os.environ['CUDA_VISIBLE_DEVICES'])}\n"
    )
    with SandboxDirector() as director:
        director.offer("exp", archive(code), to=["env_one"])
        with place.running("bash", script(place, text, director), "env_one", "envoy_config.yaml") as node:
            node.wait_for("--training_finished--> Reporting experiment='exp' cause=visible=-1")
            assert node.stop() == Exit.OK


def test_several_nodes_are_started_in_directories_of_their_own(place: Place) -> None:
    """With one state directory for all, as for one user of a machine."""
    shard = (place.home / "numbers_shard.py").read_text(encoding="utf-8")
    with SandboxDirector() as director:
        for number in (1, 2):
            place.write(f"{number}/numbers_shard.py", shard)
            place.write(
                f"{number}/envoy_config.yaml",
                "shard_descriptor:\n    template: numbers_shard.NumbersShard\n    params:\n"
                f"        data_folder: data\n        rank_worldsize: {number},2\n\n",
            )
            text = "fx envoy start -n env_{N} --disable-tls --envoy-config-path envoy_config.yaml -dh {H} -dp {P}\n    "
            script(place, text.replace("{N}", str(number)), director, f"{number}/start_envoy.sh")
        place.write("start_envoys.sh", HEAD + "\ncd 1 && bash start_envoy.sh &\ncd 2 && bash start_envoy.sh \nwait\n")
        with place.running("bash", "start_envoys.sh") as nodes:
            director.wait_for_calls("WaitExperiment", 2, timeout=20)
            assert sorted(director.nodes) == ["env_1", "env_2"]
            nodes.stop()
            assert nodes.output.count("session ended: stopped as asked (exit code 0)") >= 1


def test_a_workspace_is_made_and_started(place: Place) -> None:
    text = HEAD + "fx envoy create-workspace -p hospital\ncd hospital\n" + START
    with SandboxDirector(sample_shape=["1"], target_shape=["1"]) as director:
        with place.running("bash", script(place, text, director)) as node:
            node.wait_for("--health_checked--> Idle")
            assert node.stop() == Exit.OK
    assert sorted(path.name for path in (place.home / "hospital").iterdir() if path.name != "__pycache__") == [
        "cert",
        "data",
        "envoy_config.yaml",
        "logs",
        "requirements.txt",
        "shard_descriptor.py",
    ]


@pytest.mark.parametrize("command", ["init", "create-workspace"])
def test_a_workspace_is_made_by_either_name_and_never_over_another(place: Place, command: str) -> None:
    assert place.run("fedenvoy", command, "--envoy-path", "one")[0] == Exit.OK
    (place.home / "one" / "envoy_config.yaml").write_text("mine", encoding="utf-8")
    code, printed = place.run("fedenvoy", command, "-p", "one")
    assert code == Exit.CONFIGURATION
    assert "are there already and would be lost; name another directory, or replace with --force" in printed
    assert (place.home / "one" / "envoy_config.yaml").read_text(encoding="utf-8") == "mine"


def test_a_script_that_openfl_refuses_is_refused(place: Place) -> None:
    """One tutorial's script still has `-d HOST:PORT`, which OpenFL 1.6 does not know either."""
    code, printed = place.run("fedenvoy", "start", "-n", "env_one", "-d", "localhost:50051", "--disable-tls")
    assert code == Exit.USAGE
    assert "No such option" in printed
