#!/bin/sh
# Write the root file system of a minimal Debian release as a tar archive to standard output.
#
#   bootstrap.sh RELEASE [MIRROR...] > rootfs.tar      docker import - < rootfs.tar
#
# No mirror: the distribution's own default, which is also what the image's sources.list then names.
# The same packages and the same SOURCE_DATE_EPOCH (seconds) give the same bytes.
# Exit status 64 for a wrong call, 69 where mmdebstrap is missing, otherwise mmdebstrap's.
set -eu

if [ $# -lt 1 ] || [ -t 1 ]; then
    echo "usage: ${0##*/} RELEASE [MIRROR...] > rootfs.tar" >&2
    exit 64
fi
if ! command -v mmdebstrap > /dev/null; then
    echo "mmdebstrap is not installed: apt-get install --no-install-recommends mmdebstrap" >&2
    exit 69
fi

release=$1
shift
export LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}"

# minbase is what the distribution's own slim images hold. mmdebstrap leaves the dpkg options in the
# image, so that packages installed later go without documentation too; licences (copyright) stay.
exec mmdebstrap --quiet --variant=minbase --format=tar \
    --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    "$release" - "$@"
