#!/usr/bin/env bash
# Installs the Debian packages of the test cluster that are missing. Where it cannot, the cluster says what it lacks.
set -euo pipefail
mapfile -t packages < "$(dirname "$0")/debian-packages.txt"
command -v dpkg-query apt-get > /dev/null || { echo "no Debian: packages for the test cluster are not installed"; exit 0; }
missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0
((EUID == 0)) || { echo "not root: for the test cluster, install ${missing[*]}"; exit 0; }
echo "installing for the test cluster: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends "${missing[@]}" > /dev/null
