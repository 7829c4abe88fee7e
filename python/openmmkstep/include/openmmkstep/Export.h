#ifndef OPENMMKSTEP_EXPORT_H_
#define OPENMMKSTEP_EXPORT_H_

#define KSTEP_EXPORT __attribute__((visibility("default")))

#endif
