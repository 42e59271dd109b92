# Sets the variables of a script's configuration block from its options. Source this file at top level, after the block:
#
#   # Configuration
#   nj=4          # --nj 8 sets this
#   use_phi=false # --use-phi true sets this; if the default is true or false, no other value is allowed
#
#   . steps/parse_options.sh
#
# The block starts with a comment that begins with "Configuration" and ends at the first blank line. Only names assigned
# in it are options, so an environment variable or another variable of the script cannot be set as an option.
# --config FILE reads lines name=value; options on the command line override them. --help prints the comment at the top
# of the script. The first argument that is not an option ends the options; it and all later arguments remain in "$@".
# shellcheck shell=bash

_options_die() {
  echo "$0: $1; see $0 --help" >&2
  exit 2
}

_options_set() { # <what, for messages> <variable> <value>
  case " $_options_known " in
    *" $2 "*) ;;
    *) _options_die "$1: no such option" ;;
  esac
  case ${!2} in
    true | false) case $3 in true | false) ;; *) _options_die "$1: found '$3', expected true or false" ;; esac ;;
  esac
  printf -v "$2" %s "$3"
}

_options_read_file() { # <file>
  local _options_line _options_value
  [ -r "$1" ] || _options_die "--config: cannot read '$1'"
  while IFS= read -r _options_line || [ -n "$_options_line" ]; do
    case $_options_line in
      '' | '#'*) continue ;;
      *=*) ;;
      *) _options_die "$1: found '$_options_line', expected name=value" ;;
    esac
    _options_value=${_options_line#*=}
    case $_options_value in
      \"*\" | \'*\') _options_value=${_options_value:1:${#_options_value}-2} ;;
    esac
    _options_set "$1: ${_options_line%%=*}" "${_options_line%%=*}" "$_options_value"
  done <"$1"
}

_options_parse() { # <argument> ...: stores the number of arguments that were options in _options_count
  local _options_pair _options_given=()
  _options_count=0
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help)
        sed -n '1{/^#!/d;}; /^#/!q; s/^# \{0,1\}//p' "$_options_script"
        exit 0
        ;;
      --*=*) _options_die "$1: write '${1%%=*} ${1#*=}'" ;;
      --*) ;;
      *) break ;;
    esac
    case ${2---} in
      *[[:space:]]*) ;; # "--mem 4G" is a value
      --*) _options_die "$1: its value is missing" ;;
    esac
    if [ "$1" = --config ]; then _options_read_file "$2"; else _options_given+=("$1" "$2"); fi
    shift 2
    _options_count=$((_options_count + 2))
  done
  set -- "${_options_given[@]}"
  while [ $# -gt 0 ]; do
    _options_pair=${1#--}
    _options_set "$1" "${_options_pair//-/_}" "$2"
    shift 2
  done
}

_options_script=${BASH_SOURCE[1]}
[ -r "$_options_script" ] || _options_script=$OLDPWD/$_options_script # the script has changed its directory
_options_known=$(sed -n '/^# Configuration/,/^$/s/^\([A-Za-z][A-Za-z0-9_]*\)=.*/\1/p' "$_options_script" | tr '\n' ' ')
[ -n "$_options_known" ] || _options_die "it has no configuration block for parse_options.sh to read"
_options_parse "$@"
shift "$_options_count"
