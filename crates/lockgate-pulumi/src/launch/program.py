"""Runs a Python program against Lockgate's monitor.

Started by Lockgate with the addresses and names of the run as options. Config comes as one JSON
document on standard input, so that no secret stands in the environment that other processes see.

Exit codes: 0 done, 32 the program failed and the user was told, anything else: failed.
"""

import argparse
import asyncio
import inspect
import json
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

TOLD = 32


def options():
    parser = argparse.ArgumentParser()
    for name in ("monitor", "engine", "project", "stack", "organization", "pwd"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--root_directory", required=True)
    parser.add_argument("--dry_run", choices=("true", "false"), required=True)
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("program")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    return parser.parse_args()


def take_config():
    """Reads the config, and leaves it where the SDK and child programs look for it."""
    given = json.load(sys.stdin)
    os.environ["PULUMI_CONFIG"] = json.dumps(given["config"])
    os.environ["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(given["secretKeys"])
    return given


def settings(pulumi, given):
    """The SDK's settings; what an older SDK does not know is left out."""
    wanted = {
        "project": given.project,
        "stack": given.stack,
        "organization": given.organization,
        "monitor": given.monitor,
        "engine": given.engine,
        "parallel": given.parallel,
        "dry_run": given.dry_run == "true",
        "root_directory": given.root_directory,
    }
    known = inspect.signature(pulumi.runtime.Settings.__init__).parameters
    return pulumi.runtime.Settings(**{k: v for k, v in wanted.items() if k in known})


def machinery():
    """Files and folders whose frames say nothing about the program."""
    import concurrent.futures
    import pulumi

    packages = (pulumi, asyncio, concurrent.futures)
    folders = [os.path.dirname(package.__file__) + os.sep for package in packages]
    return (os.path.abspath(__file__), runpy.__file__, "<frozen", *folders)


def own_frames(error):
    """The traceback, cut to the frames of the program."""
    foreign = machinery()
    frames = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in frames if not frame.filename.startswith(foreign)]
    head = ["Traceback (most recent call last):\n"] if frames else []
    lines = head + traceback.format_list(frames)
    return "".join(lines + traceback.format_exception_only(type(error), error))


def run_program(program):
    """Runs the program like `python program` would; leaving it early with success is success.

    Of a folder the file itself is run. The folder's compiled copy is told apart from the file by
    size and second only, so that it could be of a text that was edited since.
    """
    main = os.path.abspath(os.path.join(program, "__main__.py"))
    if os.path.isfile(main):
        sys.path.insert(0, program)
        program = main
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise


def run(pulumi, given):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(given.parallel, 1) * 4))
    # Its complaints about tasks of a failed program would bury the failure itself.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        loop.run_until_complete(
            pulumi.runtime.run_in_stack(lambda: run_program(given.program))
        )
        return 0
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return TOLD
    except SystemExit as end:
        pulumi.log.error("the program called sys.exit(%r)" % (end.code,))
        return TOLD
    except Exception as error:
        pulumi.log.error(
            "Program failed with an unhandled exception:\n" + own_frames(error)
        )
        return TOLD
    finally:
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()


def main():
    given = options()
    config = take_config()
    try:
        import pulumi
        import pulumi.runtime
    except ImportError as error:
        print("the Python package `pulumi` cannot be imported: %s" % error, file=sys.stderr)
        print("run `lockgate install` in the project folder", file=sys.stderr)
        return 1
    pulumi.runtime.set_all_config(config["config"], config["secretKeys"])
    pulumi.runtime.configure(settings(pulumi, given))
    os.chdir(given.pwd)
    # The program sees its own arguments and its own folder, not those of this file.
    sys.argv = [given.program] + given.args
    sys.path[0] = given.pwd
    return run(pulumi, given)


if __name__ == "__main__":
    sys.exit(main())
