#!/usr/bin/env bash
# What comes into the environment of gpu.yaml after conda made it: the locks and the project itself, from the checkout.
set -euo pipefail
bash "$CARDPROOF_CHECKOUT/envs/install.sh" torch-cuda,project,data pip install -q
pip install -q --no-deps -e "$CARDPROOF_CHECKOUT"
