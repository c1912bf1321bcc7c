/* Sends batches, to one peer or to many. */
#ifndef SENDERS_H
#define SENDERS_H

#include <sys/socket.h>

/* Sends all of `messages` with as few system calls as possible. */
void send_messages(int fd, struct mmsghdr *messages, int count);

/* Runs the role "send" of a UDP contender. Returns the exit code. */
int run_sender(int count, char **arguments);

#endif
