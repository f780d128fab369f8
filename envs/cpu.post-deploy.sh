#!/usr/bin/env bash
# What comes into the environment of cpu.yaml after conda made it: the locks and the project itself, from the checkout.
set -euo pipefail
bash "$CARDPROOF_CHECKOUT/envs/install.sh" torch-cpu,project,data pip install -q
pip install -q --no-deps -e "$CARDPROOF_CHECKOUT"
