/* The published contract's identity. Part of the contract, never a setting. */
#ifndef HTTP_VERSION_H
#define HTTP_VERSION_H

#define API_SERIES "v1"
#define API_VERSION "2026-04-02"

/* The software's own. */
#define SOLOPRINT_VERSION "0.1.0"

#endif
