#!/bin/sh
# Write the lock files anew: sh locks/update.sh (needs uv).
set -eu
cd "$(dirname "$0")"
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header --custom-compile-command "sh locks/update.sh" "$@"
}
compile core.in -o core.txt
compile demo.in -c core.txt -o demo.txt
compile test.in -c demo.txt -o test.txt
compile docs.in -c test.txt -o docs.txt
compile export.in --overrides no-torch.txt -o export.txt
compile model.in --no-deps -o model.txt
compile energy.in --no-deps -o energy.txt
for peer in peers/*.in; do
    compile "$peer" --overrides no-torch.txt -o "${peer%.in}.txt"
done
# Shipped in the package: what emulated boards run, and what old runtimes do.
compile ../edgecompile/toolchain/aarch64.in -c core.txt -o ../edgecompile/toolchain/aarch64.txt
compile ../edgecompile/toolchain/armhf.in --no-deps -o ../edgecompile/toolchain/armhf.txt
compile ../edgecompile/toolchain/tflite_runtime.in -o ../edgecompile/toolchain/tflite_runtime.txt
# Environments of vendor compilers (toolchain/venv.py): each has a NAME.toml beside its lock.
for toolchain in ../edgecompile/toolchain/*.toml; do
    name="${toolchain%.toml}"
    left_out="$(basename "$name")-left-out.txt"
    if [ ! -f "$left_out" ]; then left_out=no-torch.txt; fi
    compile "$name.in" --overrides "$left_out" -o "$name.txt"
done
# The same of plug-ins.
for toolchain in ../plugins/*/*/toolchain/*.toml; do
    name="${toolchain%.toml}"
    compile "$name.in" --overrides no-torch.txt -o "$name.txt"
done
