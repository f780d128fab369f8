"""In which order test files run."""

LONGEST = (
    *("test_kill.py", "test_workflow.py", "test_published_scale.py", "test_rehearse.py", "test_report_browser.py", "test_renamed.py"),
    *("test_disk.py", "test_fuzz.py", "test_packed.py", "test_locks.py", "test_first_steps.py", "test_verify.py", "test_report.py"),
)
"""Test files that take a minute or more, longest first. The first needs the shared run of the workflow only at its end."""
