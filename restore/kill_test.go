package restore_test

const killEnv = "RESTORE_TEST_KILL"

func killedChild() {}
