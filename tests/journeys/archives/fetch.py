"""Downloads the packages of packages.txt into a folder, from the registries that npm and pip are set up for. Each line is the registry,
the package, its version and SHA-256 of its archive. Nothing of a package is run."""

import hashlib
import pathlib
import subprocess
import sys

from pip._internal.commands import create_command


def npm(name, version, folder):
    """Lets npm pack a published version."""
    text = subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", f"--pack-destination={folder}", f"{name}@{version}"], check=True, capture_output=True, text=True
    ).stdout
    return folder / text.strip().splitlines()[-1]


def pypi(name, version, folder):
    """Asks pip for the address of a source package. `pip download` would also build it."""
    command = create_command("download")
    options, _ = command.parse_args(["--no-binary", ":all:", "--no-deps"])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session)
        candidates = finder.find_all_candidates(name)
        link = next(candidate.link for candidate in candidates if str(candidate.version) == version)
        answer = session.get(link.url_without_fragment)
        answer.raise_for_status()
    path = folder / link.filename
    path.write_bytes(answer.content)
    return path


def main(packages, folder):
    fetch = {"npm": npm, "pypi": pypi}
    for line in pathlib.Path(packages).read_text().splitlines():
        registry, name, version, expected = line.split()
        path = fetch[registry](name, version, pathlib.Path(folder))
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != expected:
            sys.exit(f"{name} {version} has the SHA-256 {actual}, expected {expected}")


main(*sys.argv[1:])
