# Python: componentize-py, CPython with the program and what it imports in it.

python_tools() {
    fresh python "$here/python" && [ -x "$tools/bin/componentize-py" ] && return
    say "installing componentize-py (50 MB)"
    pip_install "$tools/python" "$here/python/requirements.txt"
    wrapper componentize-py "export PYTHONPATH='$tools/python' PYTHONDONTWRITEBYTECODE=1" \
        "exec python3 -c 'from componentize_py import script; script()' \"\$@\""
    made python "$here/python"
}

# From a copy: the interpreter leaves compiled files beside the program.
python_build() {
    local program=$work/python/$1
    mkdir -p "$program"
    cp "$source/python/$1.py" "$program/"
    quietly componentize-py -d "$(wit_of "$1")" -w "$1-service" componentize "$1" -p "$program" -o "$2"
}
