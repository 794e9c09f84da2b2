# packages.sh EXTRAS: /opt/venv with what Espalier needs, at the versions of constraints.txt. Run by the Dockerfile in /app.
set -eu
export PIP_CONSTRAINT=/app/constraints.txt # from here pip takes the versions of what builds packages, too
touch README.md                            # pyproject.toml names it; the real one comes with the code
sh /mnt/images/pip.sh /opt/venv ".[$1]"
# Some bring modules for a newer Python than this one, which nothing here imports.
sh /mnt/images/compiled.sh /opt/venv/lib || test -e /opt/venv/lib/python3*/site-packages/bentoml/__pycache__
