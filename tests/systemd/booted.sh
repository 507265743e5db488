#!/bin/bash
# The units in a booted Debian: systemd as PID 1 in a container, the fakes on its loopback. By hand, not part of pytest:
#
#   apt-get install debootstrap systemd-container
#   tests/systemd/booted.sh [DIRECTORY]        as root; about 4 minutes, 2 without debootstrap (DIRECTORY is kept)
#
# Prints a line for each thing that must hold, and ends with the number of those that do not. mountfs is installed into
# the container from this tree; its dependencies are copied from .venv, whose Python must be of the same version.
# Wherever the machine's own systemd is not PID 1 (a container, a VM's own init), this works all the same.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
venv=${VENV:-$here/.venv}
work=${1:-$(mktemp -d /tmp/mountfs-booted-XXXXXX)}
root=$work/root
keep=${1:-}
failed=0
nspawn=

finish() {
    [ -n "$nspawn" ] && { inside systemctl poweroff >/dev/null 2>&1; timeout 30 tail --pid="$nspawn" -f /dev/null; }
    [ -n "$nspawn" ] && kill -0 "$nspawn" 2>/dev/null && kill -KILL "$nspawn"
    [ "$keep" ] || rm -rf --one-file-system "$work"
}
trap finish EXIT

inside() {
    nsenter -t "$leader" -m -u -i -p -n -r -w env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LC_ALL=C.UTF-8 "$@"
}

holds() { # WHAT COMMAND…: the command, inside, must succeed
    local what=$1
    shift
    if said=$(inside timeout 60 "$@" 2>&1); then echo "ok    $what"; else
        echo "FAIL  $what: ${said: -300}"
        failed=$((failed + 1))
    fi
}

shell() { holds "$1" bash -c "$2"; }

build() {
    mkdir -p "$work"
    local packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,libnss-systemd,fuse3,libfuse3-3
    packages+=,python3,python3-venv,ca-certificates,procps,mount,util-linux,plocate
    [ -x "$root/usr/bin/systemctl" ] || debootstrap --variant=minbase --include=$packages bookworm "$root" >"$work/log" 2>&1 ||
        { tail "$work/log"; exit 2; }
    [ -x "$root/opt/mountfs/bin/python" ] || chroot "$root" python3 -m venv --without-pip /opt/mountfs
    local site
    site=$(cd "$root/opt/mountfs/lib" && echo python*)/site-packages
    [ -d "$venv/lib/$site" ] || { echo "$venv is not of Debian's ${site%%/*}"; exit 2; }
    cp -a "$venv/lib/$site/." "$root/opt/mountfs/lib/$site/"
    rm -rf "$root/opt/mountfs/lib/$site"/{__editable__*,mountfs*} "$work/src" "$work/wheel"
    mkdir -p "$work/src"
    cp -a "$here"/{mountfs,pyproject.toml,README.md,LICENSE} "$work/src/"
    "$venv/bin/pip" wheel -q --no-deps -w "$work/wheel" "$work/src" && cp "$work"/wheel/*.whl "$root/root/" || exit 2
    chroot "$root" /opt/mountfs/bin/python -m pip install -q --no-index --no-deps --force-reinstall \
        "/root/$(basename "$work"/wheel/*.whl)" || exit 2
    ln -sf /opt/mountfs/bin/{mountfs,mountfs-opener} "$root/usr/local/bin/"
    ln -sf /opt/mountfs/bin/mount.mountfs "$root/usr/sbin/"
    cp "$here"/systemd/{mountfs@.service,mnt-sessions.*} "$root/etc/systemd/system/"
    echo "127.0.0.1 localhost" >"$root/etc/hosts"
    chroot "$root" id alice >/dev/null 2>&1 || chroot "$root" useradd -m alice
    local home=$root/home/alice
    mkdir -p "$home"/.config/{systemd/user,mountfs} "$home/.local/bin" "$root"/etc/{mountfs,credstore} "$root/var/lib/fakes"
    rm -rf "$home/.config/systemd/user/"*
    cp "$here/systemd/mountfs.service" "$home/.config/systemd/user/"
    ln -sf /opt/mountfs/bin/mountfs "$home/.local/bin/mountfs"
    echo "sessions  /mnt/fstab  mountfs  config=/etc/mountfs/config.toml,allow_other,_netdev,nofail,x-systemd.automount  0  0" \
        >"$root/etc/fstab"
    cat >"$root/root/fakes.py" <<'PYTHON'
import json, os, pathlib, re, shutil, signal
from mountfs.demo.samples import SAMPLES
from mountfs.demo.server import Fakes
from mountfs.service import Notifier

etc, alice = pathlib.Path("/etc"), pathlib.Path("/home/alice/.config/mountfs")

def write(path, text, mode):
    path.write_text(text)
    path.chmod(mode)

with Fakes("/var/lib/fakes", pending=0.0) as fakes:
    text = ""
    for fake in fakes.services:
        pinned = [sample.id for sample in SAMPLES if sample.provider == fake.name == "kaizen"]
        text += f'[providers.{fake.name}]\ntype = "{fake.name}"\nbase_url = "{fake.url.replace("127.0.0.1", "localhost")}"\n'
        text += f'api_key_credential = "{fake.name}"\nsessions = {json.dumps(pinned)}\n'
        for path in (etc / f"credstore/mountfs.demo.{fake.name}", etc / f"mountfs/{fake.name}.key", alice / f"{fake.name}.key"):
            write(path, fake.key + "\n", 0o600)
    write(etc / "mountfs/demo.toml", text, 0o644)
    write(etc / "mountfs/bad.toml", text + "pathz = 1\n", 0o644)
    files = re.sub(r'api_key_credential = "(\w+)"', r'api_key_file = "\1.key"', text)
    write(etc / "mountfs/config.toml", files + '[cache]\ndir = "/var/cache/mountfs-root"\n', 0o644)
    write(alice / "config.toml", 'mountpoint = "~/sessions"\n' + files, 0o600)
    for path in alice.iterdir():
        shutil.chown(path, "alice", "alice")
    Notifier(os.environ["NOTIFY_SOCKET"]).tell("READY=1")
    signal.pause()
PYTHON
    cat >"$root/etc/systemd/system/fakes.service" <<'UNIT'
[Unit]
Before=mountfs@demo.service remote-fs-pre.target
[Service]
Type=notify
ExecStart=/opt/mountfs/bin/python /root/fakes.py
[Install]
WantedBy=multi-user.target
UNIT
    chroot "$root" chown -R alice:alice /home/alice
    chroot "$root" systemctl -q enable fakes mountfs@demo mnt-sessions.automount
}

boot() {
    SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes systemd-nspawn -q -D "$root" -M mountfs-booted -b --register=no --keep-unit \
        --private-network --bind=/dev/autofs --capability=all --console=pipe </dev/null >"$work/console" 2>&1 &
    nspawn=$!
    for _ in $(seq 300); do
        leader=$(pgrep -P "$nspawn" systemd | head -1)
        [ -n "$leader" ] && [ -e "$root/bin/systemctl" ] && inside test -S /run/systemd/private 2>/dev/null && break
        sleep 0.1
    done
    # A /dev/fuse of its own, open to all as udev makes it, and what a real machine has under /sys.
    inside sh -c 'mknod -m 666 /dev/fuse c 10 229; mkdir -p /sys/fs/fuse/connections; mount -t fusectl fusectl /sys/fs/fuse/connections'
    inside systemctl is-system-running --wait >/dev/null
}

build
boot
D=/srv/mountfs/demo
# Wait for a unit to be in a state: UNIT STATE
until_='until_() { for i in $(seq 300); do [ "$(systemctl is-active $1)" = $2 ] && return; sleep 0.1; done; return 1; }'
pid='P=$(systemctl show -p MainPID --value mountfs@demo)'

echo "-- as booted: $(inside systemctl --version | head -1), $(uname -r)"
shell "the machine is up and nothing failed" '[ "$(systemctl is-system-running)" = running ] || ! systemctl --failed --no-legend | grep .'
shell "an enabled mountfs@demo is active after boot" 'systemctl restart mountfs@demo; systemctl is-active mountfs@demo'
shell "verify is clean" 'cd /etc/systemd/system; ! systemd-analyze verify --man=no mountfs@demo.service mnt-sessions.mount mnt-sessions.automount 2>&1 | grep .'
shell "verify of the user unit is clean" '! su alice -c "HOME=/home/alice XDG_RUNTIME_DIR=/tmp systemd-analyze verify --user --man=no ~/.config/systemd/user/mountfs.service" 2>&1 | grep .'
inside systemd-analyze security --no-pager mountfs@demo | tail -1

echo "-- mountfs@demo"
shell "root, a user and a sandboxed service see the same" "[ \"\$(ls $D)\" = \"\$(su alice -c 'ls $D')\" ] && systemd-run -q --pipe -p PrivateTmp=yes -p DynamicUser=yes ls $D | grep dari"
shell "every small file is read through it" "su alice -c 'find $D -type f -size -2M -print0 2>/dev/null | head -z -n 200 | xargs -0 cat | wc -c' | grep -v '^0$'"
shell "the daemon has no capability, no new privileges, a filter" "$pid; grep -q 'CapBnd:.0000000000000000' /proc/\$P/status && grep -q 'CapEff:.0000000000000000' /proc/\$P/status && grep -q 'NoNewPrivs:.1' /proc/\$P/status && grep -q 'Seccomp:.2' /proc/\$P/status"
shell "a user of its own, a mount namespace of its own, no /dev/fuse" "$pid; [ \$(stat -c %u /proc/\$P) -ge 61184 ] && [ \$(readlink /proc/\$P/ns/mnt) != \$(readlink /proc/1/ns/mnt) ] && [ ! -e /proc/\$P/root/dev/fuse ]"
shell "it can write nowhere but to its cache" "$pid; ! nsenter -t \$P -m sh -c 'touch /etc/x || touch /usr/x || touch /var/x' 2>/dev/null"
shell "systemd keeps no descriptor of the mount" "systemctl show -p NFileDescriptorStore mountfs@demo | grep =0"
shell "read-ahead and max_background are raised" "M=\$(findmnt -no MAJ:MIN $D | tr -d ' '); grep -x 1024 /sys/class/bdi/\$M/read_ahead_kb && grep -x 4096 /sys/fs/fuse/connections/\${M#*:}/max_background"
shell "mountfs status finds it" "mountfs status | grep $D"
shell "killed: ENOTCONN, never an empty directory, then served again" "$until_; $pid; ls $D/dari >/dev/null; kill -9 \$P; for i in \$(seq 100); do ls $D >/tmp/seen 2>&1; [ -s /tmp/seen ] || exit 1; grep -q '^dari' /tmp/seen && break; grep -q 'not connected' /tmp/seen && e=1; sleep 0.05; done; [ \"\$e\" = 1 ] && until_ mountfs@demo active && [ \$(grep -c $D /proc/mounts) = 1 ]"
shell "the watchdog ends a daemon that hangs, and it comes back" "$until_; mkdir -p /run/systemd/system/mountfs@demo.service.d; printf '[Service]\nWatchdogSec=4s\nTimeoutAbortSec=2s\n' >/run/systemd/system/mountfs@demo.service.d/w.conf; systemctl daemon-reload; systemctl restart mountfs@demo; sleep 6; systemctl show -p NRestarts mountfs@demo | grep =0 || exit 1; $pid; kill -STOP \$P; sleep 8; until_ mountfs@demo active && systemctl show -p NRestarts mountfs@demo | grep =1 && ls $D | grep dari; r=\$?; rm -r /run/systemd/system/mountfs@demo.service.d; systemctl daemon-reload; exit \$r"
shell "unmounted by hand: the unit ends well" "$until_; umount $D; until_ mountfs@demo inactive && systemctl show -p Result mountfs@demo | grep success; r=\$?; systemctl start mountfs@demo; exit \$r"
shell "stopped while in use: unmounted, and well" "ls $D/dari/sess_research >/dev/null; cd $D/dari; timeout 10 systemctl stop mountfs@demo && systemctl show -p Result mountfs@demo | grep success && ! grep $D /proc/mounts"
shell "a mistake in the configuration is told in one line" "! systemctl start mountfs@bad 2>/dev/null; systemctl stop mountfs@bad; umount /srv/mountfs/bad; journalctl -u mountfs@bad -o cat | grep 'bad.toml:.*pathz: unknown key'"

echo "-- the user unit"
U="systemctl --user --machine=alice@"
shell "enabled and started" "loginctl enable-linger alice; for i in \$(seq 50); do $U is-system-running >/dev/null 2>&1 && break; sleep 0.1; done; $U enable -q --now mountfs; su alice -c 'ls ~/sessions' | grep dari"
shell "killed, and back" "kill -9 \$($U show -p MainPID --value mountfs); for i in \$(seq 100); do su alice -c 'ls ~/sessions' 2>/dev/null | grep dari && exit; sleep 0.1; done; exit 1"
shell "stopped: unmounted" "$U disable -q --now mountfs; ! grep alice/sessions /proc/mounts"
shell "allow_other needs user_allow_other" "su alice -c 'mountfs mount -o allow_other ~/other' 2>&1 | grep user_allow_other"

echo "-- mount(8), fstab, automount"
shell "mount -t mountfs, umount, and no daemon stays" "mkdir -p /mnt/by-hand; mount -t mountfs sessions /mnt/by-hand -o config=/etc/mountfs/config.toml,allow_other && findmnt -n -t fuse.mountfs -S sessions && umount /mnt/by-hand && sleep 1 && ! grep by-hand /proc/mounts"
shell "the automount unit mounts at the first look" "su alice -c 'ls /mnt/sessions' | grep dari"
shell "so does the fstab line" "su alice -c 'ls /mnt/fstab' | grep dari"
shell "both stop" "systemctl stop mnt-sessions.automount mnt-sessions.mount mnt-fstab.automount mnt-fstab.mount; ! grep fuse.mountfs /proc/mounts"
shell "PRUNEFS keeps updatedb out" "systemctl start mountfs@demo; ls -R $D >/dev/null 2>&1; sed -i 's/^PRUNEFS=\"/PRUNEFS=\"fuse.mountfs /' /etc/updatedb.conf; updatedb; ! plocate $D/dari"

echo "$failed failed"
exit "$failed"
