/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Bad configurations, a row each: every one is refused for exactly one reason, at its line and key, in its words. */
#include "config.h"

#include <errno.h>
#include <grp.h>

#include "tests/conf/suite.h"

/* A segment with something in it; the something is on line 2. */
#define SEGMENT(keys)	"segments = ( { name = \"a\"; size = \"1MiB\";\n" keys " } );"
#define TEMPLATE(keys)	"templates = ( { name = \"t-%U-\"; max_size = \"1MiB\";\n" keys " } );"
#define NAMED(name)	"segments = ( {\nname = \"" name "\"; size = \"4KiB\"; } );"
#define SIZED(size)	"segments = ( { name = \"a\";\nsize = " size "; } );"
#define DAEMON(keys)	"daemon = {\n" keys " };"
#define X16		"xxxxxxxxxxxxxxxx"
#define X128		X16 X16 X16 X16 X16 X16 X16 X16

static const struct {
	const char *text;
	unsigned line;
	const char *key;
	const char *words;
} rows[] = {
	/* syntax, and what libconfig would take silently */
	{ "daemon = {", 1, NULL, "found the end of the file; expected a key, as in \"name = value;\", or }" },
	{ "daemon = {\n};\n\n};\n", 4, NULL, "found \"}\"; expected a key" },
	{ "\n\ndaemon = { workers = ; };", 3, NULL, "found \";\"; expected a value" },
	{ "daemon {\n};", 1, NULL, "found \"{\"; expected \"=\" after a key" },
	{ DAEMON("admin_group = root;"), 2, NULL, "found \"root\"; expected a value; a text stands between" },
	{ DAEMON("workers = 1;;"), 2, NULL, "found \";\"; expected a key" },
	{ "segments = ( { }\n { } );", 2, NULL, "expected a comma or ) after a value in a list" },
	{ "segments = ( { }, );", 1, NULL, "found \")\"; expected a value" },
	{ "segments = ( { };\n );", 1, NULL, "found \";\"; expected a comma or )" },
	{ "x = [ ( 1 ) ];", 1, NULL, "in an array [ ]" },
	{ "\"x\" = 1;", 1, NULL, "found \"\\x22x\\x22\"; expected a key" },
	{ "\x01", 1, NULL, "found \"\\x01\"; expected a key" },
	{ "# x\n/* open\n", 2, NULL, "a comment starts here and does not end" },
	{ "daemon = {\n admin_group = \"x;\n };", 2, NULL, "does not end on it" },
	{ DAEMON("workers = 1;\n workers = 2;"), 3, NULL, "stands in its group already" },
	{ "daemon = {}; daemon = {};", 1, NULL, "stands in its group already" },
	{ SIZED("99999999999999999999"), 2, NULL, "the number 99999999999999999999 is too large" },
	{ SIZED("9223372036854775808"), 2, NULL, "is too large" },
	{ SIZED("0xFFFFFFFFFFFFFFFFF"), 2, NULL, "is too large" },
	{ SIZED("9223372036854775807"), 2, "segments[0].size", "out of range; expected 1B to 4194304TiB" },
	{ NAMED("a\\x00b"), 2, NULL, "\\x00" },
	{ "((((((((((((((((((((((((((((((", 1, NULL, "nested more than 16 deep" },
	{ "x = [ 1, \"a\" ];", 1, NULL, "one kind" },
	{ "\n@include \"/etc/passwd\"\n", 2, NULL, "@include is not taken" },
	/* unknown keys and wrong types */
	{ "demon = { };", 1, "demon", "did you mean \"daemon\"?" },
	{ "segment = ( );", 1, "segment", "did you mean \"segments\"?" },
	{ "quux = 1;", 1, "quux", "unknown key \"quux\"; expected one of" },
	{ DAEMON("Socket = \"/a\";"), 2, "daemon.Socket", "did you mean \"socket\"?" },
	{ DAEMON("limits = { client = 5; };"), 2, "daemon.limits.client", "did you mean \"clients\"?" },
	{ SEGMENT("page-size = \"auto\";"), 2, "segments[0].page-size", "did you mean \"page_size\"?" },
	{ SEGMENT("lock = ( );"), 2, "segments[0].lock", "did you mean \"locks\"?" },
	{ SEGMENT("zise = 1;"), 2, "segments[0].zise", "did you mean \"size\"?" },
	{ SEGMENT("max_count = 1;"), 2, "segments[0].max_count", "belongs to a template" },
	{ TEMPLATE("size = 1;"), 2, "templates[0].size", "expected max_size" },
	{ TEMPLATE("required = true;"), 2, "templates[0].required", "belongs to a segment" },
	{ "segments = 5;", 1, "segments", "found an integer; expected a list of groups" },
	{ "segments = { };", 1, "segments", "found a group { }; expected a list of groups" },
	{ "segments = [ 1 ];", 1, "segments", "found an array" },
	{ "segments = ( 5 );", 1, "segments[0]", "found an integer; expected a group" },
	{ "daemon = ( );", 1, "daemon", "expected a group" },
	{ DAEMON("workers = \"2\";"), 2, "daemon.workers", "integer from 0 to 256, without quotes" },
	{ DAEMON("workers = 1.5;"), 2, "daemon.workers", "a number with a fraction" },
	{ DAEMON("workers = -1;"), 2, "daemon.workers", "-1 is out of range; expected 0 to 256" },
	{ DAEMON("workers = 4294967296;"), 2, "daemon.workers", "4294967296 is out of range" },
	{ DAEMON("limits = { clients = 0; };"), 2, "daemon.limits.clients", "expected 1 to 1000000" },
	{ SEGMENT("prefault = 1;"), 2, "segments[0].prefault", "found an integer 1; expected true or false" },
	{ SEGMENT("prefault = \"true\";"), 2, "segments[0].prefault", "true or false, without quotes" },
	{ SEGMENT("backend = true;"), 2, "segments[0].backend", "found a boolean true" },
	{ SEGMENT("layout = 3;"), 2, "segments[0].layout", "expected a string" },
	{ SEGMENT("layout = \"\";"), 2, "segments[0].layout", "empty" },
	{ SEGMENT("layout = \"a\\nb\";"), 2, "segments[0].layout", "not printable" },
	{ SEGMENT("layout = \"" X128 "x\";"), 2, "segments[0].layout", "has 129 bytes" },
	/* sizes */
	{ SIZED("0"), 2, "segments[0].size", "0B is out of range" },
	{ SIZED("\"0\""), 2, "segments[0].size", "out of range" },
	{ SIZED("-1"), 2, "segments[0].size", "-1 is negative" },
	{ SIZED("\"-1\""), 2, "segments[0].size", "negative" },
	{ SIZED("\"9223372036854775808\""), 2, "segments[0].size", "too large" },
	{ SIZED("\"1.5GiB\""), 2, "segments[0].size", "fraction" },
	{ SIZED("1.5"), 2, "segments[0].size", "fraction" },
	{ SIZED("\"5MB\""), 2, "segments[0].size", "write \"MiB\"" },
	{ SIZED("\"5s\""), 2, "segments[0].size", "unknown unit \"s\"" },
	{ SIZED("true"), 2, "segments[0].size", "found a boolean true; expected a size" },
	{ "segments = ( { name = \"a\"; } );", 1, "segments[0].size", "is missing" },
	{ SEGMENT("max_size = \"1KiB\";"), 2, "segments[0].max_size", "1KiB is less than size, 1MiB" },
	{ "templates = ( { name = \"t-\"; } );", 1, "templates[0].max_size", "is missing" },
	{ SEGMENT("lifetime = \"attached\"; linger = 5;"), 2, "segments[0].linger", "5 has no unit" },
	{ SEGMENT("lifetime = \"attached\"; linger = \"5MiB\";"), 2, "segments[0].linger", "unknown unit" },
	/* names */
	{ "segments = ( { size = \"1MiB\"; } );", 1, "segments[0].name", "is missing" },
	{ NAMED("a/b"), 2, "segments[0].name", "\"a/b\" is no name" },
	{ NAMED(""), 2, "segments[0].name", "is no name" },
	{ NAMED(".a"), 2, "segments[0].name", "is no name" },
	{ NAMED("-a"), 2, "segments[0].name", "is no name" },
	{ NAMED("a b"), 2, "segments[0].name", "is no name" },
	{ NAMED("a\\nb"), 2, "segments[0].name", "\\x0a" },
	{ NAMED("\xc3\xa9"), 2, "segments[0].name", "\\xc3\\xa9" },
	{ NAMED("a%U"), 2, "segments[0].name", "is no name" },
	{ NAMED(X128 "x"), 2, "segments[0].name", "has 129 bytes; expected 128 at most" },
	{ NAMED(X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128
	    X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128 X128), 2,
	    "segments[0].name", "has 4096 bytes" },
	{ "templates = ( { max_size = 1; name = \"%U-\"; } );", 1, "templates[0].name", "before %U" },
	{ "templates = ( { max_size = 1; name = \"a%U%U\"; } );", 1, "templates[0].name", "%U once" },
	{ "templates = ( { max_size = 1; name = \"a%u\"; } );", 1, "templates[0].name", "no other %" },
	{ "templates = ( { max_size = 1; name = \"\"; } );", 1, "templates[0].name", "letter or digit" },
	{ "templates = ( { max_size = 1; name = \"a/%U\"; } );", 1, "templates[0].name", "letter or digit" },
	{ "segments = ( { name = \"a\"; size = 1; },\n{ name = \"a\"; size = 1; } );", 2, NULL,
	    "segment \"a\" is defined in test.conf:1 already" },
	{ "templates = ( { name = \"a\"; max_size = 1; },\n{ name = \"a\"; max_size = 1; } );", 2, NULL,
	    "template \"a\" is defined in test.conf:1 already" },
	{ "segments = ( { name = \"t-17-x\"; size = 1; } );\n" TEMPLATE(""), 1, NULL,
	    "may create from template \"t-%U-\" of test.conf:2" },
	{ TEMPLATE("},\n{ name = \"t-\"; max_size = 1;"), 3, NULL, "can stand for the same name" },
	{ TEMPLATE("},\n{ name = \"t-5\"; max_size = 1;"), 3, NULL, "can stand for the same name" },
	/* words, modes, accounts */
	{ SEGMENT("placement = \"prefered\";"), 2, "segments[0].placement", "Did you mean \"prefer\"?" },
	{ SEGMENT("numa = \"bind\";"), 2, "segments[0].numa", "found \"bind\"; expected any, local, bind:N" },
	{ SEGMENT("numa = \"bind:64\";"), 2, "segments[0].numa", "nodes 0 to 63" },
	{ SEGMENT("numa = \"bind:3-1\";"), 2, "segments[0].numa", "expected any" },
	{ SEGMENT("numa = \"preferred:0,1\";"), 2, "segments[0].numa", "expected any" },
	{ SEGMENT("numa = \"any:1\";"), 2, "segments[0].numa", "expected any" },
	{ SEGMENT("mode = 640;"), 2, "segments[0].mode", "write \"0640\" with quotes" },
	{ SEGMENT("mode = \"1640\";"), 2, "segments[0].mode", "more than permission bits" },
	{ SEGMENT("mode = \"0750\";"), 2, "segments[0].mode", "execute bits" },
	{ SEGMENT("mode = \"0620\";"), 2, "segments[0].mode", "lets group write and not read" },
	{ SEGMENT("mode = \"0602\";"), 2, "segments[0].mode", "lets others write" },
	{ SEGMENT("mode = \"0200\";"), 2, "segments[0].mode", "lets owner write" },
	{ SEGMENT("owner = \"no-such-user-x\";"), 2, "segments[0].owner", "there is no user \"no-such-user-x\"" },
	{ SEGMENT("owner = \"4294967295\";"), 2, "segments[0].owner", "there is no user" },
	{ SEGMENT("group = \"no-such-group-x\";"), 2, "segments[0].group", "there is no group" },
	{ SEGMENT("owner = 0;"), 2, "segments[0].owner", "found an integer 0" },
	{ SEGMENT("allow = ( { user = \"no-such-user-x\"; access = \"r\"; } );"), 2,
	    "segments[0].allow[0].user", "there is no user" },
	{ SEGMENT("allow = ( { user = \"root\"; } );"), 2, "segments[0].allow[0].access", "is missing" },
	{ SEGMENT("allow = ( { access = \"r\"; } );"), 2, "segments[0].allow[0]", "names nobody" },
	{ SEGMENT("allow = ( { user = \"root\"; access = \"w\"; } );"), 2,
	    "segments[0].allow[0].access", "expected \"r\" or \"rw\"" },
	{ SEGMENT("allow = ( { user = \"root\"; group = \"root\"; access = \"r\"; } );"), 2,
	    "segments[0].allow[0].group", "stands beside user" },
	{ SEGMENT("allow = ( \"root\" );"), 2, "segments[0].allow[0]", "expected a group" },
	/* daemon */
	{ DAEMON("socket = \"/" X16 X16 X16 X16 X16 X16 X16 "\";"), 2, "daemon.socket",
	    "has 113 bytes; expected 107 at most" },
	{ DAEMON("socket = \"a\";"), 2, "daemon.socket", "does not start with a slash" },
	{ DAEMON("state_dir = \"run\";"), 2, "daemon.state_dir", "expected an absolute path" },
	{ DAEMON("state_dir = \"\";"), 2, "daemon.state_dir", "empty" },
	{ DAEMON("socket_mode = \"0999\";"), 2, "daemon.socket_mode", "octal" },
	{ DAEMON("socket_mode = 0666;"), 2, "daemon.socket_mode", "with quotes" },
	{ SEGMENT("group = \"looked-up-in-vain\";"), 2, "segments[0].group",
	    "the group \"looked-up-in-vain\" cannot be looked up: Too many open files" },
	{ DAEMON("admin_group = \"looked-up-in-vain\";"), 2, "daemon.admin_group", "cannot be looked up: Too many open files" },
	{ DAEMON("admin_group = \"no-such-group-x\";"), 2, "daemon.admin_group", "there is no group" },
	{ DAEMON("memory_reserve = \"lots\";"), 2, "daemon.memory_reserve", "not a size" },
	/* contradictions */
	{ SEGMENT("mlock = true; prefault = false;"), 2, "segments[0].mlock", "contradicts prefault = false" },
	{ SEGMENT("linger = \"5s\";"), 2, "segments[0].linger", "contradicts lifetime = \"persistent\"" },
	{ TEMPLATE("lifetime = \"persistent\"; linger = \"5s\";"), 2, "templates[0].linger", "contradicts" },
	{ SEGMENT("object = \"/a\";"), 2, "segments[0].object", "belongs to backend \"posix\", and this one's is \"memfd\"" },
	{ SEGMENT("key = 5;"), 2, "segments[0].key", "belongs to backend \"sysv\"" },
	{ SEGMENT("path = \"/a\";"), 2, "segments[0].path", "belongs to backend \"file\"" },
	{ SEGMENT("sync = \"5s\";"), 2, "segments[0].sync", "belongs to backend \"file\"" },
	{ SEGMENT("on_unclean = \"zero\";"), 2, "segments[0].on_unclean", "belongs to backend \"file\"" },
	{ SEGMENT("backend = \"sysv\"; owner = \"0\";"), 2, "segments[0].owner", "contradicts backend \"sysv\"" },
	{ SEGMENT("backend = \"sysv\"; allow = ( { user = \"0\"; access = \"r\"; } );"), 2, "segments[0].allow",
	    "contradicts backend \"sysv\"" },
	{ SEGMENT("backend = \"sysv\"; key = 0;"), 2, "segments[0].key",
	    "expected a number from 1 to 0xFFFFFFFF, as in 0x7A2F; without the key it is private" },
	{ SEGMENT("backend = \"sysv\"; key = 0x1FFFFFFFF;"), 2, "segments[0].key", "8589934591 is out of range" },
	{ SEGMENT("backend = \"sysv\"; key = -1;"), 2, "segments[0].key", "expected a number from 1 to 0xFFFFFFFF" },
	{ SEGMENT("backend = \"sysv\"; key = \"5\";"), 2, "segments[0].key", "expected" },
	{ "segments = ( { name = \"a\"; size = \"4KiB\"; backend = \"sysv\"; key = 0xFFFFFFFF; },\n{ name = \"b\"; "
	    "size = \"4KiB\"; backend = \"sysv\"; key = 4294967295; } );", 2, NULL,
	    "key 0xffffffff is that of segment \"a\" of " },
	{ TEMPLATE("backend = \"sysv\"; mode = \"0660\"; key = 5;"), 2, "templates[0].key", "belongs to a segment and not to a template" },
	{ TEMPLATE("backend = \"sysv\";"), 1, "templates[0].mode", "lets nobody have what they create" },
	{ TEMPLATE("backend = \"sysv\"; mode = \"0640\";"), 2, "templates[0].mode", "expected \"0660\"" },
	{ SEGMENT("backend = \"file\"; path = \"/f\"; sync = \"now\";"), 2, "segments[0].sync", "not a time" },
	{ SEGMENT("backend = \"file\"; path = \"/f\"; on_unclean = \"x\";"), 2, "segments[0].on_unclean", "expected \"keep\"" },
	{ SEGMENT("backend = \"posix\"; object = \"order\";"), 2, "segments[0].object", "does not start with a slash" },
	{ SEGMENT("backend = \"posix\"; object = \"/a/b\";"), 2, "segments[0].object", "no object's name" },
	{ SEGMENT("backend = \"posix\"; object = \"/..\";"), 2, "segments[0].object", "no object's name" },
	{ SEGMENT("init = \"x\";"), 2, "segments[0].init", "does not start with a slash" },
	{ "orphans = ( { posix = \"psm\"; } );", 1, "orphans[0].posix", "slash" },
	{ "orphans = ( { action = \"remove\"; } );", 1, "orphans[0]", "expected posix or sysv" },
	{ "orphans = ( { posix = \"/a\"; sysv = { key = 1; }; } );", 1, "orphans[0].sysv", "stands beside posix" },
	{ "orphans = ( { posix = \"/a/b\"; } );", 1, "orphans[0].posix", "no object's name" },
	{ "orphans = ( { sysv = { }; } );", 1, "orphans[0].sysv", "is empty" },
	{ "orphans = ( { posix = \"/a\"; action = \"kill\"; } );", 1, "orphans[0].action", "expected \"report\"" },
	{ "orphans = ( { posix = \"/a\"; afer = \"1s\"; } );", 1, "orphans[0].afer", "did you mean \"after\"?" },
};

/* The C library's, but for one that it has no descriptor left to look for. */
struct group *
getgrnam(const char *name)
{
	static struct group group;
	static char text[65536];
	struct group *found = NULL;

	errno = EMFILE;
	if (!streq(name, "looked-up-in-vain"))
		errno = getgrnam_r(name, &group, text, sizeof(text), &found);
	return found;
}

START_TEST(is_refused_for_one_reason)
{
	expect_problem(rows[_i].text, rows[_i].line, rows[_i].key, rows[_i].words);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/bad");
	TCase *tc = tcase_create("bad");

	tcase_add_loop_test(tc, is_refused_for_one_reason, 0, BASE_ARRAY_SIZE(rows));
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
