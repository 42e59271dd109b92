"""Programs for the tests that filter transcripts."""

from __future__ import annotations

from pathlib import Path

# The rules of the filter of Kaldi's WSJ recipe: words that are no speech are deleted, and misspellings corrected.
WSJ = r"""#!/usr/bin/env perl
my %no_speech = map { $_ => 1 } qw(<NOISE> <SPOKEN_NOISE> <UNK> : *);
my %spelling = (
  "-HOLDER" => "HOLDER", "COMPAIGN" => "CAMPAIGN", "APPROACHES-" => "APPROACHES", "RESEACHERS" => "RESEARCHERS",
);
while (my $line = <STDIN>) {
  my ($utt, @words) = split(" ", $line);
  print join(" ", $utt, map { $spelling{$_} // $_ } grep { !$no_speech{$_} } @words), "\n";
}
"""


def program(path: Path, text: str) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def sed(path: Path, *rules: str) -> Path:
    """Write a filter that applies rules of sed to each line."""
    return program(path, "#!/bin/sh\nexec sed " + " ".join(f"-e '{rule}'" for rule in rules) + "\n")
