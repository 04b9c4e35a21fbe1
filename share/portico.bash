# bash completion for portico, written by scripts/make_share.py
_portico() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command="" words=""
  case ${COMP_WORDS[1]} in check|compress|explain|passwd) command=${COMP_WORDS[1]} ;; esac
  case $before in
    --trust-proxy-header) COMPREPLY=($(compgen -W "x-forwarded forwarded" -- "$word")); return ;;
    --log-format) COMPREPLY=($(compgen -W "auto short common combined json" -- "$word")); return ;;
    --color) COMPREPLY=($(compgen -W "auto always never" -- "$word")); return ;;
    --index|--base|--header|--immutable|--allow|--users|--access|--max-upload|--upload-expiry|--keep-free|-p|--port|-b|--bind|--host|--listen|--allow-host|--workers|--user|--tls-cert|--tls-key|--tls-client-ca|--redirect-http|--hsts|--trust-proxy|--metrics|--health|--max-connections|--client-connections|--client-requests|--client-bandwidth|--head-timeout|--idle-timeout|--send-timeout|--grace|--cache-size|--config|--ignore|--coding|--jobs|-H|-X|--file) return ;;
  esac
  if [[ $word == -* ]]; then
    case $command in
      "") words="--listing --no-listing --clean-urls --no-clean-urls --index --base --spa --no-spa --hidden --no-hidden --cors --no-cors --isolate --no-isolate --header --immutable --compress --no-compress --allow --users --access --trust-uploads --no-trust-uploads --max-upload --upload-expiry --keep-free --sync --no-sync --insecure-writes --no-insecure-writes -p --port -b --bind --host --lan --no-lan --listen --allow-host --workers --sandbox --no-sandbox --user --https --no-https --tls-cert --tls-key --tls-client-ca --redirect-http --hsts --trust-proxy --trust-proxy-header --proxy-protocol --no-proxy-protocol -o --open --no-open --access-log --no-access-log --log-format --color --metrics --health --max-connections --client-connections --client-requests --client-bandwidth --head-timeout --idle-timeout --send-timeout --grace --cache-size --config --version -h --help --help-all" ;;
      "check") words="--ignore --strict --json --listing --no-listing --clean-urls --no-clean-urls --index --base --spa --no-spa --color --config -h --help" ;;
      "compress") words="--coding --jobs --force --dry-run --quiet -h --help" ;;
      "explain") words="-H -X --user --listing --no-listing --clean-urls --no-clean-urls --index --base --spa --no-spa --hidden --no-hidden --cors --no-cors --isolate --no-isolate --header --immutable --compress --no-compress --allow --users --access --trust-uploads --no-trust-uploads --max-upload --upload-expiry --keep-free --sync --no-sync --insecure-writes --no-insecure-writes --allow-host --config -h --help" ;;
      "passwd") words="--token --file -h --help" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  elif [[ $COMP_CWORD == 1 ]]; then
    COMPREPLY=($(compgen -W "check compress explain passwd" -- "$word"; compgen -f -- "$word"))
  fi
}
complete -o default -o filenames -F _portico portico portico-server
