/* main.c - the program. */
#include "cmd.h"
#include "print.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>

extern char **environ;

int main(int argc, char **argv)
{
    int status;

    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN); /* a reader that left is an error of the write, not our death */
    status = cmd_main(argc, argv, environ);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        print_message("the output could not be written");
        return status ? status : 1;
    }
    return status;
}
