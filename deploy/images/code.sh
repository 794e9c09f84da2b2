# Our own packages into /opt/venv, and the list of all that is in the image. Run by the Dockerfile in /app.
set -eu
PIP_CONSTRAINT=/app/constraints.txt sh /mnt/images/pip.sh /opt/venv --no-deps --editable .
sh /mnt/images/compiled.sh /app /opt/venv/lib/python3*/site-packages/__editable__*.py
mkdir -p /usr/share/espalier
/opt/sbom/bin/python /mnt/images/sbom.py > /usr/share/espalier/sbom.cdx.json
