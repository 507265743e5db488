"""Which names are worth a question to a service.

Desktops, shells, editors, git and build tools look for their files in every directory they come by, parents included.
A provider's directory is such a parent, so those names never cause a request (providers.md §0.6).
Concurrency: constants and pure functions.
"""

from __future__ import annotations

import re

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
"""The general rule: opaque and path-safe. It already refuses everything that starts with a dot."""

# Desktops and file managers; git and other version control; package managers and linters; build tools; editors' tags
# and documents; the top of a file system (a PATH or a chroot that is looked for).
_PROBED = """
autorun autorun.inf autorun.sh apprun desktop.ini thumbs.db ehthumbs.db icon folder.jpg folder.png folder.gif cover.jpg
lost+found recycler recycled bdmv video_ts video_ts.ifo audio_ts dcim private pictures lock
head objects refs config index packed-refs commondir gitdir hooks info shallow worktrees cvs rcs sccs _darcs _fossil_
_mtn bitkeeper
node_modules package.json package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml pnpm-workspace.yaml lerna.json
nx.json turbo.json tsconfig.json jsconfig.json deno.json deno.jsonc bun.lock bun.lockb bunfig.toml biome.json
pyproject.toml setup.cfg setup.py tox.ini pytest.ini conftest.py noxfile.py mypy.ini ruff.toml pylintrc manage.py
requirements.txt pipfile uv.toml uv.lock poetry.lock pyvenv.cfg venv env __init__.py __main__.py __pycache__
cargo.toml cargo.lock rust-toolchain rust-toolchain.toml rustfmt.toml clippy.toml go.mod go.work go.sum vendor
gemfile gemfile.lock rakefile composer.json composer.lock mix.exs rebar.config dune-project dune-workspace stack.yaml
cabal.project flake.nix shell.nix default.nix mise.toml devbox.json lefthook.yml renovate.json
makefile gnumakefile cmakelists.txt cmakecache.txt cmakepresets.json meson.build workspace workspace.bazel module.bazel
build build.bazel dist target build.gradle build.gradle.kts settings.gradle settings.gradle.kts gradlew pom.xml
build.xml build.sbt justfile taskfile.yml taskfile.yaml dockerfile docker-compose.yml docker-compose.yaml compose.yml
compose.yaml vagrantfile jenkinsfile procfile tiltfile buf.yaml buf.work.yaml compile_commands.json compile_flags.txt
global.json nuget.config directory.build.props directory.build.targets directory.packages.props packages.config
configure configure.ac autogen.sh kconfig kbuild
tags gtags gpath grtags cscope.out session.vim claude.md agents.md readme readme.md license
etc bin lib usr dev proc sys tmp var home root
"""
PROBED_NAMES = frozenset(_PROBED.split())
"""Lower case. Some of these would be valid session ids; no service gives such."""


def is_probe(name: str) -> bool:
    """Whether a program's habit, not a person, is asking for this name."""
    lowered = name.lower()
    return lowered in PROBED_NAMES or lowered.endswith((".so", ".dll", ".exe", ".desktop", ".swp", ".tmp", ".lnk", "~"))
