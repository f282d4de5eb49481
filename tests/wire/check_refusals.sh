#!/bin/sh
# check_refusals.sh INCLUDE SNIPPETS BOOST COMPILER…     compiles each snippet and looks at what the compiler says
#
# A snippet's first line is  `// refused: TEXT`  : it must not compile, with exactly one error, which contains TEXT;
# or   `// refused by the language: TEXT` : what the compiler says by itself, in as many errors as it likes;
# or                         `// compiles`       : it must compile, or else every refusal might be a missing header.
include=$1 snippets=$2 boost=$3
shift 3
[ -n "$boost" ] && set -- "$@" -isystem "$boost"
failed=0 refused=0 compiled=0
for snippet in "$snippets"/*.cpp; do
  said=$("$@" -std=c++20 -fsyntax-only -fno-color-diagnostics -I"$include" "$snippet" 2>&1) && status=0 || status=$?
  case $said in *fno-color-diagnostics*) # g++ spells it otherwise
    said=$("$@" -std=c++20 -fsyntax-only -fdiagnostics-color=never -I"$include" "$snippet" 2>&1) && status=0 || status=$? ;;
  esac
  errors=$(printf '%s\n' "$said" | grep -c 'error:')
  first=$(head -n 1 "$snippet")
  case $first in
    '// compiles')
      compiled=$((compiled + 1))
      [ "$status" -eq 0 ] && continue
      echo "FAIL $snippet: must compile" ;;
    '// refused by the language: '*)
      refused=$((refused + 1))
      text=${first#'// refused by the language: '}
      if [ "$status" -ne 0 ] && printf '%s\n' "$said" | grep 'error:' | grep -qF -- "$text"; then continue; fi
      echo "FAIL $snippet: wanted an error with: $text (status $status)" ;;
    '// refused: '*)
      refused=$((refused + 1))
      text=${first#'// refused: '}
      if [ "$status" -ne 0 ] && [ "$errors" -eq 1 ] &&
         printf '%s\n' "$said" | grep 'error:' | grep -qF -- "brood: $text"; then continue; fi
      echo "FAIL $snippet: wanted one error with: $text (status $status, $errors errors)" ;;
    *) echo "FAIL $snippet: its first line says neither '// refused: TEXT' (or '… by the language: TEXT') nor '// compiles'" ;;
  esac
  printf '%s\n' "$said" | head -n 40
  failed=1
done
if [ "$refused" -eq 0 ] || [ "$compiled" -eq 0 ]; then
  echo "FAIL: no snippets of both kinds in $snippets"
  failed=1
fi
echo "$refused refusals, $compiled that compile"
exit $failed
