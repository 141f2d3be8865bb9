#!/usr/bin/env bash
# Installs the real proxies that crates/transport/tests/real_proxies.rs talks to, from Debian's or Ubuntu's packages. Needs root.
#
#   tests/peers/install-proxies.sh
#
# The tests start each with a configuration of their own; the services that come with the packages are not needed.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends tinyproxy squid microsocks
