#!/usr/bin/python3
"""Stands in for systemctl and journalctl on a VM of the tests.

It does with a unit and its drop-ins what systemd would do as far as tests need it, and fails where it would. What it
starts has its output in /run/units/NAME.log.
"""
import glob
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time

RUN = "/run/units"
# systemd's own, for a start.
START_MAX = 90


def settings(name):
    """All settings of a unit: an empty one forgets those before it."""
    places = [f"{place}/systemd/system/{name}.service" for place in ("/etc", "/lib")]
    files = [place for place in places if os.path.exists(place)][:1]
    if not files:
        sys.exit(f"Unit {name}.service not found.")
    found = {}
    for file in files + sorted(glob.glob(f"/etc/systemd/system/{name}.service.d/*.conf")):
        for line in open(file, encoding="utf-8"):
            key, is_setting, value = line.strip().partition("=")
            if is_setting and key[0] not in "#;[":
                found.setdefault(key, []).append(value)
                if not value:
                    found[key] = []
    return found


def environment(unit):
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "AZSLURM_CLUSTER")}
    for line in unit.get("Environment", []):
        env.update(word.split("=", 1) for word in shlex.split(line))
    for file in unit.get("EnvironmentFile", []):
        if file.startswith("-") and not os.path.exists(file[1:]):
            continue
        for line in open(file.lstrip("-"), encoding="utf-8"):
            name, is_setting, value = line.strip().partition("=")
            if is_setting and not name.startswith("#"):
                env[name] = value.strip("\"'")
    return env


def words(line, env):
    for word in shlex.split(line):
        if word.startswith("$"):
            yield from env.get(word.strip("${}"), "").split()
        else:
            yield word


def pid_of(name):
    try:
        pid = int(open(f"{RUN}/{name}.pid", encoding="utf-8").read())
        state = open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()[0]
    except (OSError, ValueError):
        return None
    # What was killed and not yet waited for does not run.
    return pid if state != "Z" else None


def listen(name, env):
    """Where a service says that it is ready: slurmd of 24.11 ends where it cannot."""
    path = f"{RUN}/{name}.notify"
    if os.path.exists(path):
        os.remove(path)
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(path)
    heard.settimeout(0.1)
    env["NOTIFY_SOCKET"] = path
    return heard


def is_ready(heard, process):
    deadline = time.monotonic() + START_MAX
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if b"READY=1" in heard.recv(4096).split(b"\n"):
                return True
        except TimeoutError:
            pass
    return False


def start(name):
    unit = settings(name)
    if pid_of(name) or not all(map(os.path.exists, unit.get("ConditionPathExists", []))):
        return
    env = environment(unit)
    user = pwd.getpwnam(unit.get("User", ["root"])[-1])
    for folder in unit.get("RuntimeDirectory", []):
        os.makedirs(f"/run/{folder}", exist_ok=True)
        os.chown(f"/run/{folder}", user.pw_uid, user.pw_gid)
    how = {"env": env, "cwd": "/", "start_new_session": True, "stdin": subprocess.DEVNULL}
    how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    command = list(words(unit["ExecStart"][-1], env))
    kind = unit.get("Type", ["simple"])[-1]
    heard = listen(name, env) if kind.startswith("notify") else None
    with open(f"{RUN}/{name}.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **how)
    if heard and not is_ready(heard, process) or kind == "forking" and process.wait() != 0:
        sys.exit(f"Job for {name}.service failed because the control process exited with error code.")
    pid = process.pid
    if kind == "forking":
        pid = open(unit["PIDFile"][-1], encoding="utf-8").read()
    with open(f"{RUN}/{name}.pid", "w", encoding="utf-8") as file:
        file.write(str(pid))


def stop(name):
    deadline = time.monotonic() + 10
    while pid := pid_of(name):
        os.kill(pid, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.05)


def main():
    os.makedirs(RUN, exist_ok=True)
    if sys.argv[0].endswith("journalctl"):
        name, count = sys.argv[sys.argv.index("-u") + 1], int(sys.argv[sys.argv.index("-n") + 1])
        sys.stdout.writelines(open(f"{RUN}/{name}.log", encoding="utf-8").readlines()[-count:])
        return
    verb, *names = [word for word in sys.argv[1:] if not word.startswith("-")]
    with open(f"{RUN}/calls", "a", encoding="utf-8") as calls:
        calls.write(" ".join([verb, *names]) + "\n")
    for name in names:
        if verb == "is-active" and not pid_of(name):
            sys.exit(3)
        if verb in ("restart", "stop"):
            stop(name)
        if verb in ("start", "restart"):
            start(name)


main()
