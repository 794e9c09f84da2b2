# What both images take from Debian, the user they run as and the folder they write to. Run by the Dockerfile.
set -eu
apt-get update
apt-get install --yes --no-install-recommends ca-certificates python3 tini
useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin espalier
install --directory --owner espalier --group espalier /data

# What tells when an image was built, and nothing that runs reads.
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/cache/ldconfig/* /var/log/*
sed -i 's/^\(espalier:[^:]*\):[0-9]*:/\1:0:/' /etc/shadow # the day when the password was changed last
rm -f /etc/shadow- /etc/passwd- /etc/group- /etc/gshadow-
