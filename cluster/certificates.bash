# Certificates of a cluster: an authority, one for each node, one for the gateways' TLS ports. Read
# after local.bash.
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR
# shellcheck source=local.bash

# certificate FILE SUBJECT EXTENSIONS… — a P-256 key and certificate, FILE.pem and FILE-key.pem.
certificate() {
  local file=$CERTIFICATES/$1 subject=$2 days=825 issuer=()
  shift 2
  if [[ ${file##*/} == authority ]]; then
    days=3650
  else
    issuer=(-CA "$CERTIFICATES/authority.pem" -CAkey "$CERTIFICATES/authority-key.pem")
  fi
  {
    printf '[req]\nprompt=no\ndistinguished_name=name\nx509_extensions=extensions\n'
    printf '[name]\nCN=%s\n[extensions]\nsubjectKeyIdentifier=hash\n' "$subject"
    printf '%s\n' "$@"
  } >"$file.cnf"
  (
    umask 077
    openssl req -x509 -config "$file.cnf" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc \
      -sha256 -days "$days" "${issuer[@]}" -keyout "$file-key.new" -out "$file.new"
  ) 2>"$CERTIFICATES/openssl.log" || fail "openssl: $(grep -m 1 : "$CERTIFICATES/openssl.log")"
  mv "$file-key.new" "$file-key.pem"
  mv "$file.new" "$file.pem"
  rm -f "$file.cnf"
}

# Whether FILE.pem, its key and a month of validity are there.
is_certified() {
  local file=$CERTIFICATES/$1
  [[ -f $file.pem && -f $file-key.pem ]] || return 1
  openssl x509 -in "$file.pem" -noout -checkend $((30 * 86400)) >/dev/null 2>&1 || return 1
  openssl verify -CAfile "$CERTIFICATES/authority.pem" "$file.pem" >/dev/null 2>&1
}

make_certificates() {
  mkdir -p "$CERTIFICATES"
  chmod 700 "$CERTIFICATES"
  is_certified authority || certificate authority "Martlet local authority" \
    'basicConstraints=critical,CA:TRUE' 'keyUsage=critical,keyCertSign,cRLSign'
  local name usage='extendedKeyUsage=serverAuth,clientAuth'
  local common=('basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature')
  for name in "$@"; do
    is_certified "$name" ||
      certificate "$name" "$name" "${common[@]}" "$usage" "subjectAltName=DNS:$name"
  done
  is_certified public || certificate public localhost "${common[@]}" \
    'extendedKeyUsage=serverAuth' 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
}
