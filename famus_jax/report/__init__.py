"""What experiments have become: `famus runs`, a list, and `famus report`, a page.

read      a work directory as plain values, whatever state it is in
charts    what the page's charts show, of all seeds together
page      the page
command   famus report
list_runs famus runs
"""
