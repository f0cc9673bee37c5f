/* test_net.c - the tensors of a graph: a view is of what holds the memory, and there is an end. */
#include "check.h"

#include "net.h"

static void test_a_view_of_a_view(void **state)
{
    struct net graph;
    int32_t input, view, second;

    (void)state;
    net_init(&graph, 2);
    input = net_input(&graph, 1024);
    view = net_view(&graph, input, 512);
    second = net_view(&graph, view, 256);
    assert_int_equal(graph.tensor[view].root, input);
    assert_int_equal(graph.tensor[second].root, input);
    assert_int_equal(graph.tensor[input].backend, 2); /* filled by the CPU */
    assert_false(graph.failed);
    net_done(&graph);
}

/* A file that claims thousands of experts for each token gets a bound, not all of the memory. */
static void test_there_is_an_end(void **state)
{
    struct net graph;

    (void)state;
    net_init(&graph, 1);
    for (int32_t i = 0; i < NET_TENSORS_MAX; i++)
        assert_int_equal(net_input(&graph, 64), i);
    assert_false(graph.failed);
    assert_int_equal(net_input(&graph, 64), 0);
    assert_true(graph.failed);
    assert_int_equal(graph.tensor_count, NET_TENSORS_MAX);
    assert_int_equal(net_view(&graph, 5, 64), 0);
    net_done(&graph);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_view_of_a_view),
    cmocka_unit_test(test_there_is_an_end),
};

CHECK_MAIN(tests)
