/*
 * The symbols of glibc and its loader that the libstdc++ and libgcc of a glibc system require, so
 * that they load under musl: sufficient for a program that throws no C++ exceptions. musl.sh
 * compiles it under the name of the glibc loader, which is a dependency of those libraries.
 */

#define _GNU_SOURCE
#include <locale.h>
#include <stdint.h>
#include <sys/random.h>
#include <time.h>

char __libc_single_threaded = 0;

struct {
  unsigned words[4];
} __cpu_model;

int __cpu_indicator_init(void) {
  return 0;
}

uint32_t arc4random(void) {
  uint32_t value = 0;
  return getrandom(&value, sizeof value, 0) == sizeof value ? value : 4;
}

size_t __strftime_l(char *out, size_t size, const char *format, const struct tm *time, locale_t l) {
  return strftime_l(out, size, format, time, l);
}

/* Registers the destructor of a thread-local object. Ignored: the destructors are not run. */
int __cxa_thread_atexit_impl(void (*run)(void *), void *object, void *library) {
  (void)run, (void)object, (void)library;
  return 0;
}

/* Finds unwind information. Reports that there is none: no exception is thrown. */
int _dl_find_object(void *address, void *result) {
  (void)address, (void)result;
  return -1;
}
