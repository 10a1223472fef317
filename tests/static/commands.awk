# SPDX-License-Identifier: Apache-2.0
# From what `make -n` prints, a line for each source: its path in the tree, a tab, and those flags that say what its text means. The others are
# one compiler's own, and warnings are the build's business.
/ -c -o / {
	source = $0
	sub(/.* -c -o [^ ]+ /, "", source)
	sub(/ *&&.*$/, "", source)
	gsub(/`[^`]*`/, "", source)
	if (index(source, srcdir "/") == 1)
		source = substr(source, length(srcdir) + 2)
	line = substr($0, 1, match($0, / -c -o /))
	flags = ""
	while (match(line, / -([DUI]|std=|isystem )('[^']*'|[^ '])+/)) {
		flags = flags substr(line, RSTART, RLENGTH)
		line = substr(line, RSTART + RLENGTH)
	}
	print source "\t" flags
}
