"""What a hostile experiment tries against the node that runs it. Each function gives whether it worked."""

from __future__ import annotations

ATTACKS = """
import ctypes, glob, json, os, signal, socket, sys, time


def read_the_private_key(at):
    return "PRIVATE KEY" in open(at["key"]).read()


def read_what_is_nobody_s_business(at):
    return open(at["secret"]).read() == "secret"


def ask_the_control_socket(at):
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(glob.glob(at["state"] + "/*/control.sock")[0])
        asked.sendall(b'{"command": "snapshot"}\\n')
        return json.loads(asked.recv(65536))["ok"]


def write_the_journal(at):
    os.close(os.open(glob.glob(at["state"] + "/*/journal.sqlite3")[0], os.O_RDWR))
    return True


def write_the_policy(at):
    open(at["policy"], "a").close()
    return True


def write_the_shard_descriptor(at):
    open(at["home"] + "/my_shard.py", "a").close()
    return True


def write_into_its_environment(at):
    for place in (sys.prefix, sys.prefix + "/lib"):
        os.chmod(place, 0o755)
    with open(sys.prefix + "/lib/evil.pth", "w") as file:
        file.write("import os")
    os.unlink(sys.prefix + "/lib/evil.pth")
    return True


def see_the_agent(at):
    return str(at["agent"]) in os.listdir("/proc")


def read_the_agent_s_variables(at):
    return b"PATH" in open(f"/proc/{at['agent']}/environ", "rb").read()


def read_the_agent_s_memory(at):
    place = int(open(f"/proc/{at['agent']}/maps").readline().partition("-")[0], 16)
    with open(f"/proc/{at['agent']}/mem", "r+b", 0) as memory:
        memory.seek(place)
        return len(memory.read(8)) == 8


def signal_the_agent(at):
    os.kill(at["agent"], signal.SIGWINCH)
    return True


def signal_the_guard(at):
    os.kill(at["guard"], signal.SIGWINCH)
    return True


def signal_its_parent(at):
    os.kill(os.getppid(), signal.SIGWINCH)
    return True


def look_into_its_parent(at):
    return bool(os.readlink(f"/proc/{os.getppid()}/fd/1"))


def connect_by_tcp(at):
    socket.create_connection(("127.0.0.1", at["tcp"]), 5).close()
    return True


def send_by_udp(at):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1)
        sender.sendto(b"?", ("127.0.0.1", at["udp"]))
        return sender.recv(1) == b"!"


def connect_to_an_abstract_socket(at):
    with socket.socket(socket.AF_UNIX) as other:
        other.connect("\\0" + at["abstract"])
    return True


def connect_to_another_service_s_socket(at):
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(at["service"])
    return True


def speak_to_the_host_of_this_machine(at):
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    return True


def gain_some_capabilities(at):
    child = os.fork()
    if child == 0:
        os._exit(ctypes.CDLL(None).unshare(0x10000000) & 1)
    return os.waitpid(child, 0)[1] == 0


def write_a_setting_of_the_kernel(at):
    with open("/proc/sys/kernel/core_pattern", "r+") as setting:
        setting.write(setting.read())
    return True


def tried(attack, at):
    try:
        return bool(attack(at)), ""
    except BaseException as error:
        return False, f"{type(error).__name__}: {error}"


def run(shard, devices, plan):
    out = OUT
    open(out + "/began", "w").close()
    while not os.path.exists(out + "/targets.json"):
        time.sleep(0.01)
    at = json.load(open(out + "/targets.json"))
    attacks = {name: one for name, one in globals().items() if one.__class__ is run.__class__ and name.count("_") > 1}
    results = {name: tried(attack, at) for name, attack in attacks.items()}
    for name in ("own_tmp", "own_home"):  # and what must go on working
        results[name] = tried(lambda at: open(at[name] + "/x", "w").close() or True,
                              {"own_tmp": "/tmp", "own_home": os.path.expanduser("~")})
    with open(out + "/results.json.new", "w") as file:
        json.dump(results, file)
    os.replace(out + "/results.json.new", out + "/results.json")
    try:
        os.kill(os.getppid(), signal.SIGKILL)
    except OSError:
        pass
    time.sleep(0.2)
    return {"survived": 1}
"""
"""An experiment that tries everything, and writes what worked; in the end it kills its parent."""

NAMES = tuple(
    line.removeprefix("def ").partition("(")[0]
    for line in ATTACKS.splitlines()
    if line.startswith("def ") and line.partition("(")[0].count("_") > 1
)
ROOT_ALONE = frozenset({"write_a_setting_of_the_kernel"})
"""What works for root only, although nothing confines the experiment."""
