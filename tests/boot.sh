#!/usr/bin/env bash
# systemd as the first process of a machine inside this one: its files under a layer that is thrown away, and
# processes, network and names of its own. The unit finds the program where docs/how-to/systemd.md installs it.
# boot.sh LAYER CHECKOUT ENVIRONMENT PYTHON MODELS, in new namespaces; MODELS are models/ of the checkout there
set -euo pipefail
layer=$1 checkout=$2 environment=$3 python=$4 models=$5
version=$(cd "$environment/lib" && echo python3.*)

mount --make-rprivate /
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/above" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/above,workdir=$layer/work" "$layer/root"
cd "$layer/root"

# Homes are hidden from the unit, and temporary folders are its own: what it runs lies in /opt.
mkdir -p "opt/unpickled/bin" "opt/unpickled/lib/$version/site-packages" opt/python opt/source/unpickled
mount --bind "$python" opt/python
mount --bind "$environment/lib/$version/site-packages" "opt/unpickled/lib/$version/site-packages"
mount --bind "$checkout" opt/source/unpickled
mount --bind "$models" opt/source/unpickled/models
ln -s "/opt/python/bin/$version" opt/unpickled/bin/python
echo 'home = /opt/python/bin' >opt/unpickled/pyvenv.cfg
sed '1s:.*:#!/opt/unpickled/bin/python:' "$environment/bin/unpickled" >opt/unpickled/bin/unpickled
chmod +x opt/unpickled/bin/unpickled

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp

# No unit of this machine runs in the other.
rm -rf etc/systemd/system/*
mkdir -p etc/systemd/system/unpickled.service.d
# A Python may name the place of its library, which is another one now.
printf '[Service]\nEnvironment=PYTHONPATH=/opt/source LD_LIBRARY_PATH=/opt/python/lib\n' \
    >etc/systemd/system/unpickled.service.d/moved.conf
printf '[Unit]\nRequires=systemd-journald.service dbus.socket\n' >etc/systemd/system/machine.target
ip link set lo up

mkdir outside
pivot_root . outside
cd /
umount -l outside
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=machine.target --show-status=0 --log-target=journal
