/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The one table of configuration keys. What a key may be, what it is when it is not given, what a reload does with it
 * and what segmentd.conf(5) says of it: all of it is in its row, and nowhere else.
 */
#include "config.h"

#include "conf/keys.h"

#include "base/base.h"
#include "conf/load.h"
#include "conf/units.h"

#define BOTH		(KEYS_OF_SEGMENT | KEYS_OF_TEMPLATE)
#define OF_POSIX	(1u << DEFINITION_POSIX)
#define OF_SYSV		(1u << DEFINITION_SYSV)
#define OF_FILE		(1u << DEFINITION_FILE)
#define COUNT_MAX	1000000
#define STRING_MAX	4095

/* A field at its offset; those that a row does not use are named so, since 0 is a field as well. */
#define AT(type, field)	.offset = offsetof(struct type, field), .name_offset = KEYS_NO_FIELD, \
	.flag_offset = KEYS_NO_FIELD
#define ACCOUNT(type, id, name, flag)	.offset = offsetof(struct type, id), \
	.name_offset = name, .flag_offset = flag
#define NOWHERE		.offset = KEYS_NO_FIELD, .name_offset = KEYS_NO_FIELD, .flag_offset = KEYS_NO_FIELD

static const char *const access_words[] = { "r", "rw", NULL };
static const char *const action_words[] = { "report", "remove", NULL };

static const struct keys_row rows[] = {
	/* the file */
	{ KEYS_TOP, "daemon", KEYS_TYPE_TABLE, NOWHERE, .reload = KEYS_LIVE,
	  .fallback_words = "all of its keys at their defaults",
	  .help = "The daemon itself. It stands in one file only." },
	{ KEYS_TOP, "segments", KEYS_TYPE_LIST, NOWHERE, .reload = KEYS_LIVE, .max = 65536,
	  .fallback_words = "none", .help = "The segments that the daemon provides." },
	{ KEYS_TOP, "templates", KEYS_TYPE_LIST, NOWHERE, .reload = KEYS_LIVE, .max = 1024,
	  .fallback_words = "none", .help = "What clients may create." },
	{ KEYS_TOP, "orphans", KEYS_TYPE_LIST, NOWHERE, .reload = KEYS_LIVE, .max = 1024,
	  .fallback_words = "none",
	  .help = "What to do with System V and POSIX objects that no living process holds." },

	/* daemon */
	{ KEYS_DAEMON, "socket", KEYS_TYPE_PATH, AT(conf_daemon, socket), .max = 107,
	  .reload = KEYS_NEVER, .fallback = "\"/run/segmentd/segmentd.sock\"",
	  .fallback_words = "for an ordinary user: $XDG_RUNTIME_DIR/segmentd/segmentd.sock",
	  .range = "an absolute path of at most 107 bytes",
	  .help = "The socket that clients connect to." },
	{ KEYS_DAEMON, "socket_mode", KEYS_TYPE_MODE, AT(conf_daemon, socket_mode), .max = 0777,
	  .reload = KEYS_LIVE, .fallback = "\"0666\"",
	  .help = "Its permissions: who may write to it may connect. What a client then may attach is a matter of "
	      "each segment's own permissions." },
	{ KEYS_DAEMON, "state_dir", KEYS_TYPE_PATH, AT(conf_daemon, state_dir), .max = STRING_MAX,
	  .reload = KEYS_NEVER, .fallback = "\"/run/segmentd\"",
	  .fallback_words = "for an ordinary user: $XDG_RUNTIME_DIR/segmentd",
	  .range = "an absolute path",
	  .help = "The daemon's own directory. It is made with mode 0755 when it does not exist (the socket is in it by "
	      "default, and what is private in it has modes of its own), and locked while the daemon lives: two daemons never share one. "
	      "A restart with segments in use does not move to another one: that takes a stop by SIGTERM, which gives them back, "
	      "and a start." },
	{ KEYS_DAEMON, "admin_group", KEYS_TYPE_ADMIN_GROUP, AT(conf_daemon, admin_group),
	  .max = 255, .reload = KEYS_LIVE, .fallback = "\"segmentd\"",
	  .range = "a group; \"\" for none",
	  .help = "Members administer the daemon, as root and the daemon's own user do. The default group need not "
	      "exist; another one has to." },
	{ KEYS_DAEMON, "audit_socket", KEYS_TYPE_PATH, AT(conf_daemon, audit_socket), .max = 107,
	  .reload = KEYS_LIVE, .fallback = "\"/run/segmentd-audit.sock\"",
	  .range = "an absolute path of at most 107 bytes",
	  .help = "The socket of segmentd-audit(8), which says what other users' processes hold and removes other users' orphans. "
	      "Where there is none, or it does not let the daemon in, the daemon starts the program itself, with no more rights "
	      "than it has." },
	{ KEYS_DAEMON, "keep_sessions", KEYS_TYPE_BOOL, AT(conf_daemon, keep_sessions),
	  .reload = KEYS_LIVE, .fallback = "true",
	  .help = "Connections outlive also a daemon that is killed: the service manager keeps them. While one is kept, closing a "
	      "pair of Unix sockets anywhere on the host takes about a microsecond longer. Where this is false they outlive "
	      "only a restart in order, and after a crash clients connect anew." },
	{ KEYS_DAEMON, "await_returns", KEYS_TYPE_TIME, AT(conf_daemon, await_returns_ms), .max = 3600000,
	  .reload = KEYS_LIVE, .fallback = "\"3s\"",
	  .help = "How long a start awaits from clients, at their next call, memory without a name that they have from a daemon which was "
	      "killed, where no service manager has it. Its segments are declared so long, and who wants to attach waits; \"0s\": "
	      "they are made anew at once. Where the daemon or the whole machine stood still, a quarter of a second of that counts at most, "
	      "or a twelfth of the whole." },
	{ KEYS_DAEMON, "workers", KEYS_TYPE_UINT, AT(conf_daemon, workers), .max = 256,
	  .reload = KEYS_LIVE, .fallback = "0",
	  .help = "Worker processes that provision memory at once; 0: one a CPU." },
	{ KEYS_DAEMON, "memory_reserve", KEYS_TYPE_SIZE, AT(conf_daemon, memory_reserve_bytes),
	  .max = UNITS_SIZE_MAX, .reload = KEYS_LIVE, .fallback = "\"512MiB\"",
	  .help = "Nothing is provisioned that would leave less than this much of the host's memory available." },
	{ KEYS_DAEMON, "limits", KEYS_TYPE_TABLE, NOWHERE, .reload = KEYS_LIVE,
	  .fallback_words = "all of its keys at their defaults",
	  .help = "What each user may have at once, and all together." },

	/* daemon.limits */
	{ KEYS_LIMITS, "clients", KEYS_TYPE_UINT, AT(conf_limits, clients), .min = 1,
	  .max = COUNT_MAX, .reload = KEYS_LIVE, .fallback = "4096", .help = "Connections." },
	{ KEYS_LIMITS, "attachments", KEYS_TYPE_UINT, AT(conf_limits, attachments), .min = 1,
	  .max = COUNT_MAX, .reload = KEYS_LIVE, .fallback = "1024",
	  .help = "Attachments, over all segments." },
	{ KEYS_LIMITS, "subscriptions", KEYS_TYPE_UINT, AT(conf_limits, subscriptions), .min = 1,
	  .max = COUNT_MAX, .reload = KEYS_LIVE, .fallback = "2048",
	  .help = "Connections that are told of events; at most 64 of them of all events." },
	{ KEYS_LIMITS, "segments", KEYS_TYPE_UINT, AT(conf_limits, segments), .max = COUNT_MAX,
	  .reload = KEYS_LIVE, .fallback = "1024",
	  .help = "Segments that the user created from templates; 0: nobody creates any. A template's max_count is for all users: below "
	      "it, this leaves some of them to others." },
	{ KEYS_LIMITS, "bytes", KEYS_TYPE_SIZE, AT(conf_limits, bytes), .max = UNITS_SIZE_MAX,
	  .reload = KEYS_LIVE, .fallback = "\"1GiB\"",
	  .help = "Memory of the segments that the user created from templates; 0: nobody creates any." },
	{ KEYS_LIMITS, "total_clients", KEYS_TYPE_UINT, AT(conf_limits, total_clients), .min = 1, .max = COUNT_MAX,
	  .reload = KEYS_LIVE, .fallback = "65536",
	  .help = "Connections of all users together. Of this, as of the other totals, no user but root and the daemon's own gets more "
	      "than half of what the others leave, and a sixteenth is for administrators alone." },
	{ KEYS_LIMITS, "total_attachments", KEYS_TYPE_UINT, AT(conf_limits, total_attachments), .min = 1, .max = COUNT_MAX,
	  .reload = KEYS_LIVE, .fallback = "262144", .help = "Attachments of all users together." },
	{ KEYS_LIMITS, "total_subscriptions", KEYS_TYPE_UINT, AT(conf_limits, total_subscriptions), .min = 1, .max = COUNT_MAX,
	  .reload = KEYS_LIVE, .fallback = "16384", .help = "Subscriptions to events of all users together." },
	{ KEYS_LIMITS, "total_segments", KEYS_TYPE_UINT, AT(conf_limits, total_segments), .min = 1, .max = COUNT_MAX,
	  .reload = KEYS_LIVE, .fallback = "16384", .help = "Segments that all users together created from templates." },
	{ KEYS_LIMITS, "total_bytes", KEYS_TYPE_SIZE, AT(conf_limits, total_bytes), .max = UNITS_SIZE_MAX,
	  .reload = KEYS_LIVE, .fallback = "\"0B\"",
	  .help = "Memory of the segments that all users together created from templates; 0: half of the host's memory, or bytes where that is more." },

	/* a segment or a template */
	{ KEYS_DEFINITION, "name", KEYS_TYPE_NAME, BOTH, AT(definition, name), .required = true,
	  .fallback_words = "required", .reload = KEYS_NEVER,
	  .range = "a letter or digit, then letters, digits, dots, underscores and hyphens; at most 128 bytes",
	  .help = "What clients ask for. No two segments share a name. A template's name is the beginning of what "
	      "may be created from it, with something to follow; %U in it stands for the creator's uid, and one "
	      "letter or digit at least comes before it. No segment and no other template may have a name that a "
	      "template stands for." },
	{ KEYS_DEFINITION, "size", KEYS_TYPE_SIZE, KEYS_OF_SEGMENT, AT(definition, size_bytes),
	  .min = 1, .max = UNITS_SIZE_MAX, .required = true, .fallback_words = "required",
	  .reload = KEYS_LIVE,
	  .help = "Bytes of data. Memory comes in pages: the rest of the last one is there as well. A reload may raise "
	      "it up to max_size while clients stay attached, and never lowers it." },
	{ KEYS_DEFINITION, "max_size", KEYS_TYPE_SIZE, BOTH, AT(definition, max_size_bytes), .min = 1,
	  .max = UNITS_SIZE_MAX, .fallback_words = "the value of size; required in a template",
	  .reload = KEYS_NEVER,
	  .help = "What size can be raised to. Address space is set aside for it, memory is not. In a template: the "
	      "largest size that may be created." },
	{ KEYS_DEFINITION, "max_count", KEYS_TYPE_UINT, KEYS_OF_TEMPLATE, AT(definition, max_count),
	  .min = 1, .max = COUNT_MAX, .reload = KEYS_LIVE, .fallback = "100",
	  .help = "How many segments of the template there may be at once." },
	{ KEYS_DEFINITION, "backend", KEYS_TYPE_WORD, BOTH, AT(definition, backend),
	  .words = definition_backend_names, .reload = KEYS_NEVER, .fallback = "\"memfd\"",
	  .help = "What holds its pages. memfd: memory without a name, reached only through the daemon. posix: an object in "
	      "/dev/shm, which programs that know nothing of it open by name. sysv: a System V segment, which they attach by its "
	      "key. file: a file, whose contents outlive the host's restart." },
	{ KEYS_DEFINITION, "object", KEYS_TYPE_TEXT, KEYS_OF_SEGMENT, .backends = OF_POSIX,
	  AT(definition, object), .max = 255, .reload = KEYS_NEVER,
	  .fallback_words = "required with posix; none otherwise",
	  .range = "a slash and a name without slashes, as in \"/order-book\"",
	  .help = "posix: the object's name, by which programs that know nothing of segmentd open it with shm_open(3). No two "
	      "segments share one." },
	{ KEYS_DEFINITION, "key", KEYS_TYPE_NUMBER, KEYS_OF_SEGMENT, .backends = OF_SYSV,
	  .offset = offsetof(struct definition, key), .name_offset = KEYS_NO_FIELD,
	  .flag_offset = offsetof(struct definition, has_key), .min = 1, .max = UINT32_MAX,
	  .reload = KEYS_NEVER, .fallback_words = "none: it is private",
	  .range = "a number from 1 to 0xFFFFFFFF, as in 0x7A2F; without the key it is private, which 0 would mean to the kernel",
	  .help = "sysv: the key that other programs find it by, as with shmget(2). No two segments share one. Without it the "
	      "segment is private: nobody is told a key of it, and it is reached only through the daemon." },
	{ KEYS_DEFINITION, "path", KEYS_TYPE_PATH, KEYS_OF_SEGMENT, .backends = OF_FILE, AT(definition, path),
	  .max = STRING_MAX, .reload = KEYS_NEVER, .fallback_words = "none; of backend file: required",
	  .range = "an absolute path",
	  .help = "file: the file, of max_size bytes, the daemon's own and with mode 0600; it is made where there is none. No two "
	      "segments have one." },
	{ KEYS_DEFINITION, "sync", KEYS_TYPE_SYNC, KEYS_OF_SEGMENT, .backends = OF_FILE,
	  AT(definition, sync_ms), .min = 1, .max = UNITS_TIME_MAX_MS, .reload = KEYS_LIVE,
	  .fallback = "\"none\"", .range = "\"none\", or a time from 1ms to 87600h",
	  .help = "file: how often its contents are written to the disk while a writer is attached. They are in any case when "
	      "the last writer detaches, at removal and at the daemon's stop." },
	{ KEYS_DEFINITION, "on_unclean", KEYS_TYPE_WORD, KEYS_OF_SEGMENT, .backends = OF_FILE,
	  AT(definition, on_unclean), .words = definition_on_unclean_names, .reload = KEYS_LIVE,
	  .fallback = "\"keep\"",
	  .help = "file: what becomes of contents that were in use when the machine went down, or did not all reach the disk. "
	      "keep: they stay as they are. zero: they are zeroed. fail: the segment fails, until somebody has looked." },
	{ KEYS_DEFINITION, "page_size", KEYS_TYPE_WORD, BOTH, AT(definition, page_size),
	  .words = definition_page_size_names,
	  .reload = KEYS_DRAINED, .fallback = "\"auto\"",
	  .help = "auto: huge pages where the host gives them, base pages otherwise. base: base pages. transparent: "
	      "transparent huge pages. 2MiB, 1GiB: pages of the kernel's hugetlb pools, which are never swapped; size and "
	      "max_size are multiples of them. They are reserved at once, so that nobody who touches one misses it." },
	{ KEYS_DEFINITION, "prefault", KEYS_TYPE_BOOL, BOTH, AT(definition, prefault),
	  .reload = KEYS_DRAINED, .fallback = "true",
	  .help = "All of its memory is there before it is ready: no client waits for a page, or dies for want of one." },
	{ KEYS_DEFINITION, "mlock", KEYS_TYPE_BOOL, BOTH, AT(definition, mlock),
	  .reload = KEYS_DRAINED, .fallback_words = "the value of prefault",
	  .help = "Its memory stays in RAM and is never swapped out. It needs prefault, and a large enough "
	      "RLIMIT_MEMLOCK or CAP_IPC_LOCK." },
	{ KEYS_DEFINITION, "numa", KEYS_TYPE_NUMA, BOTH, AT(definition, numa),
	  .words = definition_numa_names,
	  .reload = KEYS_DRAINED, .fallback = "\"any\"",
	  .range = "any, local, bind:N[,N], interleave:N-M or preferred:N, of the nodes 0 to 63",
	  .help = "The nodes that its memory is on. any: wherever there is some. local: the node that the daemon runs on "
	      "when it provisions it. bind: those, and no others. interleave: those, in turn. preferred: that one, as far "
	      "as it has room. local and preferred take other nodes where theirs is full. All but any need prefault." },
	{ KEYS_DEFINITION, "placement", KEYS_TYPE_WORD, BOTH, AT(definition, placement),
	  .words = definition_placement_names, .reload = KEYS_DRAINED, .fallback = "\"require\"",
	  .help = "require: what page_size, mlock and numa ask for is had, or the segment fails. prefer: it is made "
	      "ready without, and segmentctl show says so." },
	{ KEYS_DEFINITION, "owner", KEYS_TYPE_USER, BOTH,
	  ACCOUNT(definition, owner, offsetof(struct definition, owner_name),
	      offsetof(struct definition, has_owner)), .reload = KEYS_LIVE,
	  .fallback_words = "the daemon's user; of a template: the creator",
	  .range = "a user's name, or a uid as a string", .help = "The user that the mode's first digit is about." },
	{ KEYS_DEFINITION, "group", KEYS_TYPE_GROUP, BOTH,
	  ACCOUNT(definition, group, offsetof(struct definition, group_name),
	      offsetof(struct definition, has_group)), .reload = KEYS_LIVE,
	  .fallback_words = "the daemon's group; of a template: the creator's",
	  .range = "a group's name, or a gid as a string", .help = "The group that its second digit is about." },
	{ KEYS_DEFINITION, "mode", KEYS_TYPE_MODE, BOTH, AT(definition, mode), .max = 0666,
	  .reload = KEYS_LIVE, .fallback = "\"0600\"",
	  .range = "octal digits 0, 4 and 6, as in \"0640\"",
	  .help = "Who may attach, as bits on a file: r for reading, w for writing. A writable mapping can be read, so "
	      "w alone is refused; x means nothing, and is refused, too." },
	{ KEYS_DEFINITION, "allow", KEYS_TYPE_LIST, BOTH, NOWHERE, .max = DEFINITION_ALLOW_MAX,
	  .reload = KEYS_LIVE, .fallback = "( )",
	  .help = "Who else may attach, beyond owner, group and others." },
	{ KEYS_DEFINITION, "layout", KEYS_TYPE_TEXT, BOTH, AT(definition, layout),
	  .max = DEFINITION_LAYOUT_MAX, .reload = KEYS_DRAINED, .fallback_words = "none",
	  .range = "a text of at most 128 bytes, as in \"order-book/3\"",
	  .help = "A name for how the data is laid out. Clients that ask for another one are refused." },
	{ KEYS_DEFINITION, "init", KEYS_TYPE_PATH, KEYS_OF_SEGMENT, AT(definition, init),
	  .max = STRING_MAX, .reload = KEYS_DRAINED, .fallback_words = "none: all bytes are zero",
	  .range = "an absolute path",
	  .help = "A regular file with the contents that it starts with, of size bytes at most; what it has less is zero. They "
	      "are copied in before the segment is ready, and again after each scrub, with the rights of the daemon's uid. Of "
	      "backend file only when the file is made, or zeroed. A file that cannot be had, or that changes meanwhile, fails the segment." },
	{ KEYS_DEFINITION, "required", KEYS_TYPE_BOOL, KEYS_OF_SEGMENT, AT(definition, required),
	  .reload = KEYS_LIVE, .fallback = "true",
	  .help = "The daemon's start is complete once it is ready. false: others do not wait for it, and workers make its pages "
	      "when there are none of others to make." },
	{ KEYS_DEFINITION, "lifetime", KEYS_TYPE_WORD, BOTH, AT(definition, lifetime),
	  .words = definition_lifetime_names, .reload = KEYS_LIVE, .fallback = "\"persistent\"",
	  .fallback_words = "in a template: \"attached\"",
	  .help = "persistent: it is there as long as the daemon is. attached: it ends with its last attachment." },
	{ KEYS_DEFINITION, "linger", KEYS_TYPE_TIME, BOTH, AT(definition, linger_ms),
	  .max = UNITS_TIME_MAX_MS, .reload = KEYS_LIVE, .fallback = "\"0s\"",
	  .help = "How long a segment with lifetime attached stays after its last attachment ended. Where the daemon or the whole machine "
	      "stood still, that counts for a quarter of it at most." },
	{ KEYS_DEFINITION, "scrub", KEYS_TYPE_BOOL, BOTH, AT(definition, scrub),
	  .reload = KEYS_LIVE, .fallback = "false",
	  .help = "When its last attachment ends, its memory is given back and new, zeroed memory is provisioned." },
	{ KEYS_DEFINITION, "dump", KEYS_TYPE_BOOL, BOTH, AT(definition, dump),
	  .reload = KEYS_LIVE, .fallback = "true",
	  .help = "false: clients keep it out of their core dumps: those that attach from then on." },
	{ KEYS_DEFINITION, "locks", KEYS_TYPE_LIST, BOTH, NOWHERE, .max = DEFINITION_LOCKS_MAX,
	  .reload = KEYS_DRAINED, .fallback = "( )",
	  .help = "Robust locks, and the bytes that they protect: each is free again when its owner dies, and its bytes are "
	      "as on_death says." },

	/* allow */
	{ KEYS_ALLOW, "user", KEYS_TYPE_USER, ACCOUNT(definition_allow, id,
	      offsetof(struct definition_allow, name), KEYS_NO_FIELD), .reload = KEYS_LIVE,
	  .fallback_words = "none", .range = "a user's name, or a uid as a string",
	  .help = "Who; either user or group is given." },
	{ KEYS_ALLOW, "group", KEYS_TYPE_GROUP, ACCOUNT(definition_allow, id,
	      offsetof(struct definition_allow, name), offsetof(struct definition_allow, is_group)),
	  .reload = KEYS_LIVE, .fallback_words = "none",
	  .range = "a group's name, or a gid as a string", .help = "Who; likewise." },
	{ KEYS_ALLOW, "access", KEYS_TYPE_FLAG, AT(definition_allow, write), .words = access_words,
	  .required = true, .fallback_words = "required", .reload = KEYS_LIVE,
	  .help = "r: for reading. rw: for reading and writing." },

	/* locks */
	{ KEYS_LOCK, "name", KEYS_TYPE_NAME, AT(definition_lock, name), .required = true,
	  .fallback_words = "required", .reload = KEYS_DRAINED,
	  .range = "as a segment's name",
	  .help = "What clients find it by. No two locks of a segment share a name." },
	{ KEYS_LOCK, "offset", KEYS_TYPE_SIZE, AT(definition_lock, offset_bytes),
	  .max = UNITS_SIZE_MAX, .reload = KEYS_DRAINED, .fallback = "\"0B\"",
	  .fallback_words = "of a mutex with on_death zero: required; of another mutex: none",
	  .help = "The first of the bytes that it protects." },
	{ KEYS_LOCK, "length", KEYS_TYPE_SIZE, AT(definition_lock, length_bytes), .min = 1,
	  .max = UNITS_SIZE_MAX, .reload = KEYS_DRAINED,
	  .fallback_words = "required; of a mutex with on_death keep: none",
	  .help = "How many they are. All of them are in the segment (of a template: in max_size, and a segment that is "
	      "created has to be large enough), and no byte is in two locks' ranges." },
	{ KEYS_LOCK, "undo", KEYS_TYPE_SIZE, AT(definition_lock, undo_bytes), .max = GIB,
	  .reload = KEYS_DRAINED, .fallback = "\"64KiB\"",
	  .fallback_words = "of a mutex: none", .range = "64B to 1GiB, and 16GiB of all locks of a segment; or 0B",
	  .help = "Room for the old bytes of one section: each change in it takes its length, rounded up to 8 bytes, and 16 "
	      "bytes more. 0B: nothing is logged, a section cannot be rolled back, and on_death is not rollback." },
	{ KEYS_LOCK, "at", KEYS_TYPE_SIZE, AT(definition_lock, at_bytes), .max = UNITS_SIZE_MAX,
	  .reload = KEYS_DRAINED, .fallback_words = "none",
	  .help = "Where an application's own pthread_mutex_t is: a multiple of 8, with its 40 bytes in the segment and in no "
	      "lock's range. The entry is about that mutex then, and has no undo." },
	{ KEYS_LOCK, "init", KEYS_TYPE_BOOL, AT(definition_lock, init), .reload = KEYS_DRAINED,
	  .fallback = "false",
	  .help = "That mutex is made by the daemon, robust and process-shared, before the segment is ready. It needs "
	      "prefault. false: the application makes it." },
	{ KEYS_LOCK, "on_death", KEYS_TYPE_WORD, AT(definition_lock, on_death),
	  .words = definition_on_death_names, .reload = KEYS_DRAINED, .fallback = "\"rollback\"",
	  .fallback_words = "of a mutex: \"keep\"",
	  .help = "What becomes of the bytes when its owner dies. rollback: they are as before its section. keep: they stay "
	      "as they are. zero: they are zeroed. poison: they stay, and nobody gets the lock until segmentctl "
	      "recover. A mutex has keep and zero." },

	/* orphans */
	{ KEYS_ORPHAN, "posix", KEYS_TYPE_TEXT, AT(conf_orphan, posix), .max = 255,
	  .reload = KEYS_LIVE, .fallback_words = "none", .range = "a pattern, as in \"/psm_*\"",
	  .help = "Objects of /dev/shm by name, as shm_open(3) has it; either posix or sysv is given. As in a shell, * and ? "
	      "stand for any bytes, [] for one of some, and a dot behind the slash is matched by a dot alone." },
	{ KEYS_ORPHAN, "sysv", KEYS_TYPE_TABLE, NOWHERE, .reload = KEYS_LIVE,
	  .fallback_words = "none", .help = "System V segments that all of its keys are true of." },
	{ KEYS_ORPHAN, "after", KEYS_TYPE_TIME, AT(conf_orphan, after_ms), .max = UNITS_TIME_MAX_MS,
	  .reload = KEYS_LIVE, .fallback = "\"30s\"", 
	  .help = "For how long nobody has held it until something is done about it. Of a POSIX object that is since its last "
	      "close that segmentd saw, or since segmentd looks at it; of a System V segment since its last detach." },
	{ KEYS_ORPHAN, "action", KEYS_TYPE_FLAG, AT(conf_orphan, remove), .words = action_words,
	  .reload = KEYS_LIVE, .fallback = "\"report\"",
	  .help = "What to do with it. report: the log and events tell of it, once. remove: it is removed, if the kernel still "
	      "says that nobody holds it." },

	/* orphans.sysv */
	{ KEYS_ORPHAN_SYSV, "user", KEYS_TYPE_USER, ACCOUNT(conf_orphan, user, KEYS_NO_FIELD,
	      offsetof(struct conf_orphan, has_user)), .reload = KEYS_LIVE,
	  .fallback_words = "any", .range = "a user's name, or a uid as a string", .help = "Its owner." },
	{ KEYS_ORPHAN_SYSV, "key", KEYS_TYPE_NUMBER, .offset = offsetof(struct conf_orphan, key),
	  .name_offset = KEYS_NO_FIELD, .flag_offset = offsetof(struct conf_orphan, has_key),
	  .max = UINT32_MAX, .reload = KEYS_LIVE, .fallback_words = "any", .help = "Its key." },
	{ KEYS_ORPHAN_SYSV, "mode", KEYS_TYPE_MODE, .offset = offsetof(struct conf_orphan, mode),
	  .name_offset = KEYS_NO_FIELD, .flag_offset = offsetof(struct conf_orphan, has_mode),
	  .max = 0777, .reload = KEYS_LIVE, .fallback_words = "any", .help = "Its permissions." },
};

static const char *const reload_names[KEYS_RELOAD_N] = { "live", "drained", "never" };
static const char *const scope_names[KEYS_SCOPE_N] = { "the file", "daemon", "daemon.limits",
	"segments and templates", "allow", "locks", "orphans", "orphans.sysv" };
static const char *const type_names[KEYS_TYPE_N] = { "boolean", "integer", "size", "time", "mode",
	"word", "word", "name", "string", "path", "user", "group", "group", "nodes", "time", "integer",
	"group of keys", "list of groups" };

const struct keys_row *
keys_rows(size_t *ret_n)
{
	*ret_n = BASE_ARRAY_SIZE(rows);
	return rows;
}

const struct keys_row *
keys_find(enum keys_scope scope, const char *key)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++)
		if (rows[i].scope == scope && streq(rows[i].key, key))
			return &rows[i];
	return NULL;
}

const char *
keys_reload_name(enum keys_reload reload)
{
	return reload < KEYS_RELOAD_N ? reload_names[reload] : "unknown";
}

const char *
keys_scope_name(enum keys_scope scope)
{
	return scope < KEYS_SCOPE_N ? scope_names[scope] : "unknown";
}

const char *
keys_type_name(enum keys_type type)
{
	return type < KEYS_TYPE_N ? type_names[type] : "unknown";
}
