/* Runs one signature of a SavedModel by TensorFlow's C interface:
   MODEL INPUT OUTPUT INDEX DIMENSION... < floats > floats
   The exit code is TensorFlow's (3: invalid argument). */
#include <stdio.h>
#include <stdlib.h>
#include <tensorflow/c/c_api.h>

static void check(TF_Status* status) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s\n", TF_Message(status));
  exit(TF_GetCode(status));
}

int main(int argc, char** argv) {
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), NULL, argv[1], tags,
                                                     1, graph, NULL, status);
  check(status);

  int64_t dimensions[8];
  size_t size = sizeof(float);
  for (int i = 5; i < argc; i++) size *= dimensions[i - 5] = atoll(argv[i]);
  TF_Tensor* fed = TF_AllocateTensor(TF_FLOAT, dimensions, argc - 5, size);
  if (fread(TF_TensorData(fed), 1, size, stdin) != size) return 100;

  TF_Output input = {TF_GraphOperationByName(graph, argv[2]), 0};
  TF_Output output = {TF_GraphOperationByName(graph, argv[3]), atoi(argv[4])};
  TF_Tensor* fetched = NULL;
  TF_SessionRun(session, NULL, &input, &fed, 1, &output, &fetched, 1, NULL, 0, NULL, status);
  check(status);
  fwrite(TF_TensorData(fetched), 1, TF_TensorByteSize(fetched), stdout);
  return 0;
}
