/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Every kind of message for an administrator, in one table: its name here, how urgent it is, and its id in the journal, by which
 * systemd/segmentd.catalog says what to do. What is not here is for debugging. A new kind gets an id of its own (`journalctl
 * --new-id128` or uuidgen) and a text in the catalog; no id is ever used for something else.
 */
#ifndef DAEMON_MESSAGES_H
#define DAEMON_MESSAGES_H

#include <syslog.h>

#define MESSAGES(X) \
	/* the daemon */								\
	X(READY, LOG_INFO, "43ea99494f0343c9982c9d055d176ca5")				\
	X(INCOMPLETE, LOG_ERR, "8f283d3bb1244f7aaaba4c54a0d02ecf")			\
	X(STOPPING, LOG_NOTICE, "4ce5993ccbae466290ce0132917989e1")			\
	X(HANDING_OVER, LOG_NOTICE, "09a08d78441f4a1780b0b428637f3788")			\
	X(FAILED, LOG_ERR, "0d1b952da7f9493590ef3d35cf553087")				\
	X(CONFIG_PROBLEM, LOG_ERR, "dc28bcf38bed46328b5c43b72cc642da")			\
	X(CONFIG_REFUSED, LOG_ERR, "49a1076fda354e03adfa944fc3839b14")			\
	X(CONFIG_KEPT, LOG_ERR, "ffb913b8a76f45618379d162dfcd6950")			\
	X(STATE, LOG_ERR, "dc61ca101d7a491f821a5029979799c4")				\
	X(STATE_DAMAGED, LOG_WARNING, "f64737bc60144dc19c7e6992d7ca0745")		\
	X(SOCKET, LOG_ERR, "bdd2594ce3fa45d092af05b57030be6d")				\
	X(LIMIT, LOG_ERR, "dffae66aa7fb4ac091b6454a403a87a8")				\
	X(LEFT_OUT, LOG_WARNING, "850df6b31b4643d9953c4eff93e2a9fb")			\
	/* clients */									\
	X(CLIENTS_REFUSED, LOG_ERR, "cb641031b31b4fe3af271822eb13a0c9")			\
	X(CLIENTS_WAIT, LOG_WARNING, "440014a667ef4ca293aa0ed5ccf155aa")			\
	X(LIMIT_REACHED, LOG_NOTICE, "f503f18ae8dc41fda33e0be7dd4667ed")			\
	X(PROTOCOL, LOG_WARNING, "4d7c7a715ff541b1b8510d4f28dd765c")			\
	X(SILENT, LOG_NOTICE, "0599659709d44d7dadca5b5b5ddee290")			\
	X(WORKERS_LOST, LOG_WARNING, "6ff2a704e2e14e65b97d07b51b092694")			\
	X(WORKERS_ENDED, LOG_NOTICE, "abb3c576c3e34527af63a8525df36cbb")			\
	X(UNREACHED, LOG_ERR, "62f472785e8b4693849af8a6b054b14d")			\
	X(REACHED, LOG_NOTICE, "e8f2f315fda34f8cb67c60312880f3ec")			\
	/* segments */									\
	X(SEGMENT_READY, LOG_INFO, "80609a9022c7492bb768c17b383bc901")			\
	X(SEGMENT_DEGRADED, LOG_WARNING, "acb70e30f2a543e08bcf3c3b4e1db64b")		\
	X(SEGMENT_FAILED, LOG_ERR, "33569225ae8f4f1c91a374bb04b37b7f")			\
	X(SEGMENT_REMOVAL, LOG_NOTICE, "261b380fcd664385be578312d30b7240")		\
	X(SEGMENT_DRAINING, LOG_NOTICE, "257a8b850a524ca99cf5b91f8a39b404")		\
	X(SEGMENT_GONE, LOG_NOTICE, "cb062607f7134b09ad6aa6dd92522a1c")			\
	X(SEGMENT_GROWN, LOG_NOTICE, "7f5a101c97d2455ebddbb4dbe190c0e1")		\
	X(SEGMENT_NOT_GROWN, LOG_WARNING, "2f1411c74ce74643a4ec9dd94741959f")		\
	X(SEGMENT_OPEN, LOG_ERR, "c734fac94f4d4851ae9d0a9d903d2ed1")			\
	X(NAMES_WAIT, LOG_WARNING, "2e598b5caf15421a87f131fece96a8e2")			\
	X(NAMES_GO_ON, LOG_NOTICE, "e3e051443e3d420cbc427571a07533f9")			\
	X(SEGMENT_CROWDED, LOG_WARNING, "aefc252bb7214d1e883e20368d3957fe")		\
	X(SEGMENT_UNCROWDED, LOG_NOTICE, "08820629213b498683fc1effaff0015f")		\
	X(FILE_UNWRITTEN, LOG_ERR, "7adba9821d7c4fbcadc3450f3c3162a1")			\
	/* locks */									\
	X(LOCK_FREED, LOG_NOTICE, "ed7a7c8ad8a44f66bab9da3f487632df")			\
	X(LOCK_POISONED, LOG_WARNING, "2af348c4c02b4af1a690c08c2d9d213b")		\
	X(LOCK_WAITS, LOG_WARNING, "799099c3f6ac4b1784b66a0aab32e97b")			\
	X(LOCK_DAMAGED, LOG_ERR, "b264b9e72a6d48bbaa85277eb9c046b0")			\
	/* reload */									\
	X(RELOAD, LOG_NOTICE, "36b15d1efa374d38b4138f9f3c707808")			\
	X(RELOAD_STEP, LOG_NOTICE, "138d0c7a38024a5e9952e2e451eb75e1")			\
	X(RELOAD_REFUSED, LOG_WARNING, "82b7fef1975943efbd42266b6fa72723")		\
	X(RELOAD_PROBLEM, LOG_ERR, "871bbd3156d34a1f9f2a82e755c3b19d")			\
	/* what outlives the daemon */							\
	X(TAKEN_OVER, LOG_NOTICE, "c2292eba5c86470083edc07843aead1c")			\
	X(NOT_TAKEN_OVER, LOG_WARNING, "ea1658c6aff04232b4b4fbdc6f211b96")		\
	X(TAKEOVER_WAITS, LOG_ERR, "bc46756ba5664679937922df7dce2698")			\
	X(SEGMENT_REVIVED_LESS, LOG_WARNING, "d9d58487e1204d6e926ac743a9c6bf16")	\
	X(UNSAVED, LOG_WARNING, "71a80762bc604b4199cfc4678b44cbe6")			\
	X(NOT_SAVED, LOG_ERR, "1d6ce582baa64a7ca4e8b8fc55c5d0df")			\
	X(LEFT, LOG_NOTICE, "e1febe21ecaa44d499b8066fac9cb01f")				\
	X(LEFT_PROBLEM, LOG_WARNING, "979d2859fb424b41b342bb7bd671904f")		\
	X(LEFT_REMOVED, LOG_NOTICE, "2dafee712f414022a44ae34a42839d16")			\
	X(NOT_REMOVED, LOG_ERR, "1d603fa16c424ef7ba3f408fd3cef645")			\
	X(REPLACED, LOG_WARNING, "d2c11f6bb2484150804db9b3f2914224")			\
	/* orphans */									\
	X(ORPHAN_FOUND, LOG_NOTICE, "d4a38719f34a4675a21f219e7eb84122")			\
	X(ORPHAN_REMOVED, LOG_NOTICE, "44cb26c09f53422fbd783fc3335ed06a")		\
	X(ORPHAN_KEPT, LOG_WARNING, "4957e24586f6427f850552b7fbcaf87e")			\
	X(ORPHAN_UNKNOWN, LOG_WARNING, "bad5c5966b7a4a7085ffa3e1ae064007")		\
	X(ORPHANS_LATER, LOG_WARNING, "03ec40e8ec0a424296f48aa48da26353")		\
	X(ORPHANS_UNWATCHED, LOG_ERR, "5929cf0d4e3a4658926f37f1163d71db")		\
	X(UNSETTLED, LOG_WARNING, "66acb99d306c4c7697cda56d63a103fe")			\
	X(SETTLED, LOG_NOTICE, "535212cc80864a83952cca1381c438f5")

#define MESSAGE_NUMBER(name, priority, id)	MESSAGE_NUMBER_##name,
#define MESSAGE_VALUE(name, priority, id)	MESSAGE_##name = MESSAGE_NUMBER_##name << 3 | (priority),

enum message_number {
	MESSAGE_NUMBER_NONE,
	MESSAGES(MESSAGE_NUMBER)
	MESSAGE_NUMBER_N
};

/* As syslog(3)'s facilities: the priority is in the three lowest bits, and a bare priority is a message without an id. */
enum message {
	MESSAGES(MESSAGE_VALUE)
};

#define MESSAGE_PRIORITY(what)			LOG_PRI(what)

/* 128 bits as hex, or NULL. */
const char *message_id(int what);

#endif
