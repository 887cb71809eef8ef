# bash completion of leangate: the options are those that --help lists, which it has from the table of directives.

_leangate() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    case $before in
    -c | --config)
        COMPREPLY=($(compgen -f -X '!*.ini' -- "$word") $(compgen -d -- "$word"))
        return
        ;;
    --directory | --app-dir | --root)
        COMPREPLY=($(compgen -d -- "$word"))
        return
        ;;
    esac
    if [[ $word == -* ]]; then
        local options
        options=$("${COMP_WORDS[0]}" --help 2>/dev/null | grep -oE '^  (-[a-zA-Z], )?--?[a-zA-Z][a-z-]*' | tr -d ' ' | tr ',' '\n')
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -f -X '!*.py' -- "$word") $(compgen -d -- "$word"))
    fi
}

complete -o filenames -F _leangate leangate
